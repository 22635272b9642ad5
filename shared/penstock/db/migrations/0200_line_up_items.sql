-- Items of a sequential list that are taken up again (a resume, a retry, a dead letter) run one after the other, as they did the first
-- time. The trigger below sends each to wait in the line of its list, whatever takes it up, so no statement that moves runs has to know of
-- this. A scheduler lets the first of a line start when no other item of the list is under way.
-- `penstock_scheduler.loops.list_expansion` has the whole story.

CREATE TABLE penstock.list_line (
    run_id      uuid PRIMARY KEY,
    list_id     uuid NOT NULL REFERENCES penstock.lists ON DELETE CASCADE,
    admitted_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON COLUMN penstock.list_line.admitted_at IS 'when the run was made: items of a sequential list are made in their order';
CREATE INDEX list_line_order ON penstock.list_line (list_id, admitted_at);

ALTER TABLE penstock.lists ADD COLUMN holder uuid;
COMMENT ON COLUMN penstock.lists.holder IS 'of a sequential list: the run that was let start last; the next starts when it has ended';
COMMENT ON COLUMN penstock.lists.is_ready IS 'of a sequential list: an item has ended since the last one was let start';
UPDATE penstock.lists l
SET holder = (SELECT r.id FROM penstock.runs r WHERE r.list_id = l.id AND r.finished_at IS NULL LIMIT 1)
WHERE l.is_sequential AND l.state IN ('expanding', 'expanded');

CREATE FUNCTION penstock.stand_in_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.finished_at IS NOT NULL THEN
        DELETE FROM penstock.list_line q WHERE q.run_id = NEW.id;
        RETURN NEW;
    END IF;
    IF OLD.finished_at IS NOT NULL THEN
        INSERT INTO penstock.list_line (run_id, list_id, admitted_at)
        SELECT NEW.id, l.id, NEW.created_at FROM penstock.lists l WHERE l.id = NEW.list_id AND l.is_sequential;
    ELSE
        PERFORM FROM penstock.list_line q WHERE q.run_id = NEW.id;
    END IF;
    IF FOUND THEN
        NEW.state := 'scheduled';
        NEW.parked_at := clock_timestamp();
        NEW.dispatched_at := NULL;
        NEW.is_awaited := true;
    END IF;
    RETURN NEW;
END $$;

-- Before `pass_gate`, by its name: the line comes before the limits of the workflow. What stands in it is `scheduled` and awaited, so of all
-- other runs these conditions are all that is looked at.
CREATE TRIGGER line_up BEFORE UPDATE OF state ON penstock.runs FOR EACH ROW
WHEN (NEW.list_id IS NOT NULL AND NEW.state <> OLD.state
      AND (OLD.finished_at IS NOT NULL AND NEW.finished_at IS NULL
           OR NEW.is_awaited AND OLD.state = 'scheduled' AND (NEW.state = 'queued' OR NEW.finished_at IS NOT NULL)))
EXECUTE FUNCTION penstock.stand_in_line();
