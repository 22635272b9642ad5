-- A limited run whose places are free takes them when it is admitted, and is queued at once. `penstock.runs.gates` has the whole story.
--
-- With one column more than `wanted_run`, which the previous release still sends.
CREATE TYPE penstock.entering_run AS (
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
    is_counted       boolean,
    is_limited       boolean,
    crowd            uuid,
    has_places       boolean
);
