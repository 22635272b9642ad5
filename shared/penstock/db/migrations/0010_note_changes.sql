-- Changes of things that a workflow waits for (`on: change`). Deploying puts the triggers below on the tables of those types, and takes
-- them off again; the tables of all other types know nothing of it.

CREATE TABLE penstock.changes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    type        text NOT NULL,
    operation   text NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
    run_id      uuid,
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    before      jsonb,
    after       jsonb,
    CONSTRAINT before_and_after CHECK ((operation = 'create') = (before IS NULL) AND (operation = 'delete') = (after IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON COLUMN penstock.changes.run_id IS 'the run that made the change; null: it came from outside, and what it starts is a root';
COMMENT ON COLUMN penstock.changes.before IS 'the row of the type''s table';
CREATE INDEX changes_waiting ON penstock.changes (environment, type, id);

-- The run that changes something is told by the transaction's setting `penstock.run_id` (`outside`: no run). A connection of a service
-- (they all call themselves `penstock …`) that does not say is refused, because a chain could pass the depth limit by a change that
-- nobody knows the run of; a service that is refused says it and does it again. Everybody else is outside.
CREATE FUNCTION penstock.changing_run() RETURNS uuid LANGUAGE plpgsql STABLE AS $$
DECLARE
    said text := current_setting('penstock.run_id', true);
BEGIN
    IF coalesce(said, '') = '' AND current_setting('application_name') LIKE 'penstock %' THEN
        RAISE EXCEPTION 'a change of a type that a workflow waits for needs the run that makes it' USING ERRCODE = 'PW001';
    END IF;
    RETURN CASE WHEN coalesce(said, '') IN ('', 'outside') THEN NULL ELSE said::uuid END;
END $$;

CREATE FUNCTION penstock.note_created() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows) THEN
        INSERT INTO penstock.changes (environment, type, operation, run_id, after)
        SELECT TG_TABLE_SCHEMA, TG_ARGV[0], 'create', penstock.changing_run(), to_jsonb(n) FROM new_rows n;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION penstock.note_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows) THEN
        INSERT INTO penstock.changes (environment, type, operation, run_id, before, after)
        SELECT TG_TABLE_SCHEMA, TG_ARGV[0], 'update', penstock.changing_run(), to_jsonb(o), to_jsonb(n)
        FROM old_rows o JOIN new_rows n ON n."_id" = o."_id";
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION penstock.note_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM old_rows) THEN
        INSERT INTO penstock.changes (environment, type, operation, run_id, before)
        SELECT TG_TABLE_SCHEMA, TG_ARGV[0], 'delete', penstock.changing_run(), to_jsonb(o) FROM old_rows o;
    END IF;
    RETURN NULL;
END $$;
