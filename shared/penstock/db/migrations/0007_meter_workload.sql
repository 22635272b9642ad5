-- What runs and requests consume, in workload units: a total on each run, sums per hour, and what each activity weighs.

ALTER TABLE penstock.runs ADD COLUMN workload double precision NOT NULL DEFAULT 0;
COMMENT ON COLUMN penstock.runs.workload IS 'workload units of the attempts whose end was written';

ALTER TABLE penstock.environments
    ADD COLUMN workload_allowance double precision NOT NULL DEFAULT 0 CHECK (workload_allowance >= 0),
    ADD COLUMN workload_spike_factor double precision NOT NULL DEFAULT 3 CHECK (workload_spike_factor >= 0),
    ADD COLUMN workload_spike_minimum double precision NOT NULL DEFAULT 1000 CHECK (workload_spike_minimum >= 0);
COMMENT ON COLUMN penstock.environments.workload_allowance IS 'units per calendar month (UTC) by which the admins are warned; 0: none';
COMMENT ON COLUMN penstock.environments.workload_spike_factor IS 'how often the median hour of a week makes a spike; 0: none does';
COMMENT ON COLUMN penstock.environments.workload_spike_minimum IS 'units below which no hour is a spike';

-- Hot rows: every process adds to those of the current hour every few seconds.
CREATE TABLE penstock.workload (
    environment text NOT NULL REFERENCES penstock.environments,
    hour        timestamptz NOT NULL,
    workflow    text NOT NULL,
    activity    text NOT NULL,
    count       bigint NOT NULL,
    units       double precision NOT NULL,
    PRIMARY KEY (environment, hour, workflow, activity)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
COMMENT ON COLUMN penstock.workload.workflow IS 'empty for what belongs to no workflow: requests to the Data API';

CREATE TABLE penstock.workload_weights (
    environment text NOT NULL REFERENCES penstock.environments,
    activity    text NOT NULL,
    weight      double precision NOT NULL CHECK (weight >= 0),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment, activity)
);
COMMENT ON TABLE penstock.workload_weights IS 'weights that differ from the published ones, which stand in penstock.domain.workload';
