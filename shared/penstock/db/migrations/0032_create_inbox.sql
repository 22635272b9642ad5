-- Runs that a service asks for inside a transaction of its own, in this database: `SELECT penstock.schedule(…)`. The row commits with
-- the service's other work; a scheduler then admits the run and takes the row out, in one transaction.

CREATE TABLE penstock.inbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    workflow    text NOT NULL,
    parameters  jsonb NOT NULL,
    at          timestamptz,
    key         text,
    depth       int NOT NULL,
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Runs with its owner's rights: who may call it needs no right on any table. Returns the request's number, which the log names where
-- the run cannot be admitted.
CREATE FUNCTION penstock.schedule(
    environment text, workflow text, parameters jsonb DEFAULT '{}', at timestamptz DEFAULT NULL, key text DEFAULT NULL,
    depth int DEFAULT 0
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    request bigint;
BEGIN
    IF environment IS NULL OR NOT EXISTS (SELECT FROM penstock.environments e WHERE e.name = environment) THEN
        RAISE EXCEPTION 'penstock.schedule: there is no environment %', coalesce(quote_literal(environment), 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is development or live.';
    ELSIF workflow IS NULL OR workflow !~ '^[A-Za-z0-9_-]{1,200}$' THEN
        RAISE EXCEPTION 'penstock.schedule: % is not the name of a workflow', coalesce(quote_literal(left(workflow, 100)), 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'A name has 1 to 200 of the characters A-Z a-z 0-9 _ -.';
    ELSIF parameters IS NULL OR jsonb_typeof(parameters) <> 'object' THEN
        RAISE EXCEPTION 'penstock.schedule: parameters are not a JSON object' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Such as jsonb_build_object(''order_id'', 17).';
    ELSIF at IS NOT NULL AND NOT isfinite(at) OR at >= '9999-12-31 00:00:00+00' THEN
        RAISE EXCEPTION 'penstock.schedule: at is beyond the year 9999' USING ERRCODE = 'invalid_parameter_value';
    ELSIF length(key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'penstock.schedule: a key has 1 to 255 characters' USING ERRCODE = 'invalid_parameter_value';
    ELSIF depth IS NULL OR depth NOT BETWEEN 0 AND 1000000 THEN
        RAISE EXCEPTION 'penstock.schedule: depth goes from 0 to 1000000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO penstock.inbox (environment, workflow, parameters, at, key, depth)
    VALUES (environment, workflow, parameters, at, key, depth) RETURNING id INTO request;
    RETURN request;
END $$;
REVOKE ALL ON FUNCTION penstock.schedule FROM PUBLIC;

-- The role that may do this and nothing else. Roles belong to the server, so another database may have made it; and who migrates may not
-- be allowed to: then an administrator runs these three statements.
DO $$
BEGIN
    CREATE ROLE penstock_enqueue NOLOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN RAISE NOTICE 'the role penstock_enqueue could not be created: %', SQLERRM;
END $$;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'penstock_enqueue') THEN
        GRANT USAGE ON SCHEMA penstock TO penstock_enqueue;
        GRANT EXECUTE ON FUNCTION penstock.schedule TO penstock_enqueue;
    END IF;
END $$;
