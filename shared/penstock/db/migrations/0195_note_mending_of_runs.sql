-- A retry may replace a run's parameters and the version of its definition. Steps that it keeps were given others: what
-- shows their inputs says so. Null, as in nearly all runs: nothing was replaced.
ALTER TABLE penstock.runs ADD COLUMN mended_at timestamptz;
COMMENT ON COLUMN penstock.runs.mended_at IS 'when a retry last replaced its parameters or version; null: never';
