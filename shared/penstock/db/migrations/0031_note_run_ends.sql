-- Runs that ended badly, for workflows with `on: run`. Written in the transaction that ends the run, whoever ends it (an executor, a
-- scheduler, a person), so that none is lost; a scheduler takes the rows out and starts what waits for them. Deploying says in
-- `run_watches` which ends anybody waits for: where there is none, an end costs the look-up in an empty table.

ALTER TABLE penstock.runs DROP CONSTRAINT runs_trigger_check;
ALTER TABLE penstock.runs ADD CONSTRAINT runs_trigger_check CHECK (
    trigger IN ('api', 'webhook', 'schedule', 'recurrence', 'change', 'message', 'manual', 'run', 'run_event')
) NOT VALID;

CREATE TABLE penstock.run_watches (
    environment text NOT NULL,
    state       text NOT NULL CHECK (state IN ('failed', 'terminated', 'cancelled')),
    workflow    text NOT NULL,
    PRIMARY KEY (environment, state, workflow)
);
COMMENT ON COLUMN penstock.run_watches.workflow IS 'the workflow whose runs are watched; * stands for all of them';

CREATE TABLE penstock.run_ends (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    run_id      uuid NOT NULL,
    state       text NOT NULL,
    attempt     int NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE FUNCTION penstock.note_run_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM penstock.run_watches w
        WHERE w.environment = NEW.environment AND w.state = NEW.state AND w.workflow IN ('*', NEW.workflow)
    ) THEN
        INSERT INTO penstock.run_ends (environment, run_id, state, attempt)
        VALUES (NEW.environment, NEW.id, NEW.state, NEW.attempt);
    END IF;
    RETURN NULL;
END $$;

-- The end of a run that itself was started by the end of another starts nothing more.
CREATE TRIGGER note_end_of_inserted AFTER INSERT ON penstock.runs FOR EACH ROW
WHEN (NEW.state = 'terminated' AND NEW.trigger <> 'run_event') EXECUTE FUNCTION penstock.note_run_end();
CREATE TRIGGER note_end_of_updated AFTER UPDATE OF state ON penstock.runs FOR EACH ROW
WHEN (NEW.state IN ('failed', 'terminated', 'cancelled') AND OLD.state <> NEW.state AND NEW.trigger <> 'run_event')
EXECUTE FUNCTION penstock.note_run_end();
