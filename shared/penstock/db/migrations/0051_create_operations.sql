-- What is done to many runs at once, by a filter: cancelled, or retried. Worked off in batches, each a transaction with the row's counts,
-- by whoever takes the row: the process that was asked, and schedulers.
CREATE TABLE penstock.operations (
    id          uuid PRIMARY KEY,
    environment text NOT NULL REFERENCES penstock.environments,
    kind        text NOT NULL CHECK (kind IN ('runs.cancel', 'runs.retry', 'schedule.cancel')),
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'finished', 'failed')),
    filter      jsonb NOT NULL,
    total       bigint NOT NULL CHECK (total >= 0),
    done        bigint NOT NULL DEFAULT 0 CHECK (done >= 0),
    items       bigint NOT NULL DEFAULT 0 CHECK (items >= 0),
    failures    smallint NOT NULL DEFAULT 0,
    error       text,
    actor       text NOT NULL,
    asked_by    text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT finished_when_over CHECK ((state = 'running') = (finished_at IS NULL))
) WITH (fillfactor = 70);
COMMENT ON COLUMN penstock.operations.total IS 'how many runs met the filter when it began; some may end by themselves meanwhile';
COMMENT ON COLUMN penstock.operations.items IS 'items of lists that were given up before they became runs';
COMMENT ON COLUMN penstock.operations.failures IS 'batches in a row that failed';
COMMENT ON COLUMN penstock.operations.asked_by IS 'by what way: the management API or a command; it stands in the log of each run';
CREATE INDEX operations_running ON penstock.operations (created_at) WHERE state = 'running';
CREATE INDEX operations_finished ON penstock.operations (finished_at) WHERE state <> 'running';

-- Failed runs are few among all that have ended.
CREATE INDEX runs_failed ON penstock.runs (created_at) WHERE state = 'failed';
