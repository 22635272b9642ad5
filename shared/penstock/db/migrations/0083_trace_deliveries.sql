-- A delivery says how its request was proved, and a replay which delivery it repeats. No verdict: an earlier release has stored it.
-- NOT VALID: there are no values to be checked, and a check would read the whole table under its lock.
ALTER TABLE penstock.deliveries
    ADD COLUMN verdict text,
    ADD COLUMN origin_id uuid,
    ADD CONSTRAINT known_verdict CHECK (verdict IN ('genuine', 'unsigned')) NOT VALID;
CREATE INDEX deliveries_replays ON penstock.deliveries (origin_id) WHERE origin_id IS NOT NULL;

-- `asked_delivery` with two more columns; the previous release still sends that one.
CREATE TYPE penstock.received_delivery AS (
    id             uuid,
    environment    text,
    source         text,
    dedup_key      text,
    type           text,
    run_ids        uuid[],
    headers        text,
    body           bytea,
    signature_key  text,
    unique_seconds double precision,
    verdict        text,
    origin_id      uuid
);

-- Deliveries are replayed in their order, so an operation keeps how far it is: their state does not say.
ALTER TABLE penstock.operations
    DROP CONSTRAINT operations_kind_check,
    ADD CONSTRAINT operations_kind_check CHECK (kind IN ('runs.cancel', 'runs.retry', 'schedule.cancel', 'deliveries.replay')),
    ADD COLUMN reached_at timestamptz,
    ADD COLUMN reached_id uuid;
COMMENT ON COLUMN penstock.operations.reached_at IS 'with reached_id: the last delivery that was dealt with';
