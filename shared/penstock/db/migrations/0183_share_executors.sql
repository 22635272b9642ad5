-- Fairness inside a lane: the runs of a large chain or list (a crowd) are not queued when they are admitted. They stay `scheduled`, and
-- schedulers hand over a few of each crowd at a time. `penstock_scheduler.loops.sharing` has the whole story. Null, as in most runs: it is
-- queued as soon as it is due.
ALTER TABLE penstock.runs ADD COLUMN crowd uuid;
COMMENT ON COLUMN penstock.runs.crowd IS 'the chain or list whose runs take turns with those of others; null: it is queued at once';

-- What is due at once, as before, but for crowds. Schedulers of the previous release use `runs_scheduled` in its place.
DROP INDEX penstock.runs_due;
CREATE INDEX runs_due ON penstock.runs (scheduled_at) WHERE state = 'scheduled' AND parked_at IS NULL AND crowd IS NULL;
CREATE INDEX runs_crowd_due ON penstock.runs (crowd, scheduled_at)
WHERE state = 'scheduled' AND parked_at IS NULL AND crowd IS NOT NULL;
CREATE INDEX runs_crowd_queued ON penstock.runs (crowd) WHERE state = 'queued' AND crowd IS NOT NULL;

-- With one column more than `requested_run`, which the previous release still sends.
CREATE TYPE penstock.wanted_run AS (
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
    crowd            uuid
);
