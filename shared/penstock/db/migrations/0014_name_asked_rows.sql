-- What admission is given: arrays of these. The driver looks at each element of an array and PostgreSQL at each key of a document,
-- so one array of rows is the cheapest form. JSON comes as text and is read once, where it is stored.
--
-- A release sends all columns in this order. A type that gets another column needs a new name while the previous release still runs.
CREATE TYPE penstock.asked_run AS (
    id               uuid,
    environment      text,
    workflow         text,
    trigger          text,
    parameters       text,
    parent_run_id    uuid,
    claimed_depth    integer,
    claimed_chain_id uuid,
    depth_limit      integer,
    progress         text,
    scheduled_at     timestamptz,
    priority         integer,
    context          text,
    list_id          uuid,
    delivery_id      uuid,
    is_counted       boolean
);

CREATE TYPE penstock.asked_delivery AS (
    id             uuid,
    environment    text,
    source         text,
    dedup_key      text,
    type           text,
    run_ids        uuid[],
    headers        text,
    body           bytea,
    signature_key  text,
    unique_seconds double precision
);
