-- What each process of a service reports of itself every few seconds: that it is there, whether something in it is
-- stuck, and how many runs ended since its last report. Nothing here is written where runs are admitted or performed.
CREATE TABLE penstock.replicas (
    id         text PRIMARY KEY,
    service    text NOT NULL CHECK (service IN ('ingress', 'scheduler', 'executor')),
    host       text NOT NULL,
    release    text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    stuck      text[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE penstock.replicas IS 'one row for each process of a service; one that ends removes its own';

CREATE TABLE penstock.run_minutes (
    environment text NOT NULL CHECK (environment IN ('development', 'live')),
    minute      timestamptz NOT NULL,
    outcome     text NOT NULL
        CHECK (outcome IN ('admitted', 'succeeded', 'failed', 'skipped', 'cancelled', 'terminated')),
    runs        bigint NOT NULL CHECK (runs >= 0),
    PRIMARY KEY (environment, minute, outcome)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE penstock.run_minutes IS 'how many runs were admitted and ended, as processes have counted: not exact';

-- Chains near one of their limits. A warning is written once per chain, so that updates of the count stay HOT.
CREATE INDEX chains_warned ON penstock.chains (greatest(warned_at, runs_warned_at, workload_warned_at))
    WHERE greatest(warned_at, runs_warned_at, workload_warned_at) IS NOT NULL;
