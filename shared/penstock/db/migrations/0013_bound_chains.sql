-- What may be done about a run that is too deep, how much a chain may consume, and what a resume grants one chain.
ALTER TABLE penstock.environments
    ADD COLUMN depth_policy text NOT NULL DEFAULT 'terminate' CHECK (depth_policy IN ('terminate', 'observe')),
    ADD COLUMN chain_workload_limit double precision CHECK (chain_workload_limit > 0);
COMMENT ON COLUMN penstock.environments.depth_policy IS 'observe: runs that are too deep are admitted, and recorded once per path';
COMMENT ON COLUMN penstock.environments.chain_workload_limit IS 'null: none';
-- Only where nobody has asked for another one.
UPDATE penstock.environments SET chain_runs_limit = 10000
WHERE name = 'development' AND deployment_version = 0 AND chain_runs_limit = 1000000;

ALTER TABLE penstock.chains
    ADD COLUMN workload double precision NOT NULL DEFAULT 0,
    ADD COLUMN measured_runs bigint NOT NULL DEFAULT 0,
    ADD COLUMN runs_warned_at timestamptz,
    ADD COLUMN workload_warned_at timestamptz,
    ADD COLUMN extra_depth integer NOT NULL DEFAULT 0 CHECK (extra_depth BETWEEN 0 AND 1000000),
    ADD COLUMN extra_runs bigint NOT NULL DEFAULT 0 CHECK (extra_runs >= 0),
    ADD COLUMN extra_workload double precision NOT NULL DEFAULT 0 CHECK (extra_workload >= 0);
COMMENT ON COLUMN penstock.chains.workload IS 'measured, only where the environment limits it, when the chain had measured_runs runs';

CREATE TABLE penstock.chain_grants (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id       uuid NOT NULL,
    environment    text NOT NULL,
    extra_depth    integer NOT NULL DEFAULT 0,
    extra_runs     bigint NOT NULL DEFAULT 0,
    extra_workload double precision NOT NULL DEFAULT 0,
    granted_by     text NOT NULL,
    granted_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX chain_grants_chain ON penstock.chain_grants (chain_id);
COMMENT ON TABLE penstock.chain_grants IS 'who let a chain go further than its limits, and when; the sums stand in penstock.chains';

-- Asked only of a run that is too deep without it.
CREATE FUNCTION penstock.extra_depth(chain uuid) RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((SELECT c.extra_depth FROM penstock.chains c WHERE c.id = chain), 0);
