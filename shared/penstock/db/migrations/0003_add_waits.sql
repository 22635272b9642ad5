-- Runs that wait for a time or a signal, and signals that wait for a run. `penstock.store.waits` says how they meet.

-- One row per waiting run. Whoever changes or removes it holds the row of its run.
CREATE TABLE penstock.waits (
    run_id      uuid PRIMARY KEY,
    environment text NOT NULL,
    step        text NOT NULL,
    until       timestamptz,
    signal      text,
    match       jsonb,
    match_name  text,
    match_hash  bigint,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT waits_for_something CHECK (until IS NOT NULL OR signal IS NOT NULL),
    CONSTRAINT only_signals_match CHECK (match IS NULL OR signal IS NOT NULL)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000
);
COMMENT ON COLUMN penstock.waits.until IS 'null: only the signal ends the wait';
COMMENT ON COLUMN penstock.waits.match_name IS 'one member of `match` that is not null, by which a signal finds the row';
COMMENT ON COLUMN penstock.waits.match_hash IS 'of the value of that member';
CREATE INDEX waits_due ON penstock.waits (until) WHERE until IS NOT NULL;
CREATE INDEX waits_signal ON penstock.waits (environment, signal, match_name, match_hash) WHERE signal IS NOT NULL;

-- Signals that no run waited for yet.
CREATE TABLE penstock.signals (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    name        text NOT NULL,
    payload     jsonb NOT NULL,
    posted_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX signals_name ON penstock.signals (environment, name, id);
CREATE INDEX signals_posted ON penstock.signals (posted_at);

-- Not validated: what the narrower rule has let in, the wider one does too, and reading all steps would hold up the executors.
ALTER TABLE penstock.steps DROP CONSTRAINT steps_outcome_check;
ALTER TABLE penstock.steps
    ADD CONSTRAINT steps_outcome_check CHECK (outcome IN ('succeeded', 'failed', 'skipped', 'waiting')) NOT VALID;
