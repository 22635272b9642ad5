-- PostgreSQL updates a row without touching its indexes (HOT) as long as no column changes that an index, or the condition of one, names.
-- `state` stood in those conditions, so each claim and each end of a run wrote entries into all indexes. What the indexes need to know is
-- kept apart from now on: it stays null from `queued` to `running` and to most ends.
ALTER TABLE penstock.runs ADD COLUMN indexed_state text;
COMMENT ON COLUMN penstock.runs.indexed_state IS
    'the state where an index asks for it: scheduled, waiting or failed; null in all other states. A trigger keeps it';

CREATE FUNCTION penstock.note_indexed_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.indexed_state := CASE WHEN NEW.state IN ('scheduled', 'waiting', 'failed') THEN NEW.state END;
    RETURN NEW;
END $$;

-- For what does not write it itself: rare statements, and the release before. Last of its kind by its name, since `line_up` and `pass_gate`
-- change the state.
CREATE TRIGGER write_indexed_state BEFORE UPDATE OF state ON penstock.runs FOR EACH ROW
WHEN (NEW.indexed_state IS DISTINCT FROM CASE WHEN NEW.state IN ('scheduled', 'waiting', 'failed') THEN NEW.state END)
EXECUTE FUNCTION penstock.note_indexed_state();
CREATE TRIGGER write_indexed_state_of_inserted BEFORE INSERT ON penstock.runs FOR EACH ROW
WHEN (NEW.indexed_state IS DISTINCT FROM CASE WHEN NEW.state IN ('scheduled', 'waiting', 'failed') THEN NEW.state END)
EXECUTE FUNCTION penstock.note_indexed_state();
