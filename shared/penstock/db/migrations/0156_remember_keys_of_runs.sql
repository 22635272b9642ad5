-- Runs that an author's key stands for, beside the one whose id derives from it: those that were scheduled under the key again, because it
-- had become free. `cancel: {workflow, key}` finds them here after the key itself is forgotten.
CREATE TABLE penstock.keyed_runs (
    run_id     uuid PRIMARY KEY,
    first_id   uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN penstock.keyed_runs.first_id IS 'derives from environment, workflow and key';
CREATE INDEX keyed_runs_first ON penstock.keyed_runs (first_id);
CREATE INDEX keyed_runs_created ON penstock.keyed_runs (created_at);
