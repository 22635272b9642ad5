-- What waits for ends of runs: lists (their counts, the next item of a sequential one) and runs that wait for others. A trigger notes each
-- end that somebody waits for, in the transaction that ends the run; a scheduler takes the notes and applies each once.
-- `penstock.runs.ends_and_joins` has the whole story.

ALTER TABLE penstock.runs ADD COLUMN is_awaited boolean;
COMMENT ON COLUMN penstock.runs.is_awaited IS 'true: the next item of a list, or another run, waits for its end; null: nobody does';

ALTER TABLE penstock.lists
    ADD COLUMN succeeded  integer NOT NULL DEFAULT 0,
    ADD COLUMN failed     integer NOT NULL DEFAULT 0,
    ADD COLUMN skipped    integer NOT NULL DEFAULT 0,
    ADD COLUMN cancelled  integer NOT NULL DEFAULT 0,
    ADD COLUMN terminated integer NOT NULL DEFAULT 0,
    ADD COLUMN is_ready   boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN penstock.lists.succeeded IS 'of its items, so far; a note of an end that was not applied yet is not counted';
COMMENT ON COLUMN penstock.lists.is_ready IS 'of a sequential list: the item before has ended, so that the next may start';
CREATE INDEX lists_ready ON penstock.lists (created_at) WHERE state = 'expanding' AND is_sequential AND is_ready;

CREATE TABLE penstock.ends (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id  uuid NOT NULL,
    list_id uuid,
    state   text NOT NULL,
    change  smallint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON COLUMN penstock.ends.change IS '1: the run has ended so; -1: it had, and was taken up again';
CREATE INDEX ends_list ON penstock.ends (list_id) WHERE list_id IS NOT NULL;

CREATE FUNCTION penstock.note_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.finished_at IS NOT NULL THEN
        INSERT INTO penstock.ends (run_id, list_id, state, change) VALUES (NEW.id, NEW.list_id, OLD.state, -1);
    END IF;
    IF NEW.finished_at IS NOT NULL THEN
        INSERT INTO penstock.ends (run_id, list_id, state, change) VALUES (NEW.id, NEW.list_id, NEW.state, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_awaited_end AFTER UPDATE OF state ON penstock.runs FOR EACH ROW
WHEN ((NEW.list_id IS NOT NULL OR NEW.is_awaited) AND NEW.state <> OLD.state
      AND (NEW.finished_at IS NOT NULL OR OLD.finished_at IS NOT NULL))
EXECUTE FUNCTION penstock.note_end();
CREATE TRIGGER note_inserted_end AFTER INSERT ON penstock.runs FOR EACH ROW
WHEN (NEW.list_id IS NOT NULL AND NEW.finished_at IS NOT NULL) EXECUTE FUNCTION penstock.note_end();

-- Lists that are under way: nothing was counted before.
UPDATE penstock.lists l
SET succeeded = n.succeeded, failed = n.failed, skipped = n.skipped, cancelled = n.cancelled, terminated = n.terminated,
    is_ready = n.live = 0
FROM (
    SELECT r.list_id, count(*) FILTER (WHERE r.state = 'succeeded') AS succeeded, count(*) FILTER (WHERE r.state = 'failed') AS failed,
           count(*) FILTER (WHERE r.state = 'skipped') AS skipped, count(*) FILTER (WHERE r.state = 'cancelled') AS cancelled,
           count(*) FILTER (WHERE r.state = 'terminated') AS terminated, count(*) FILTER (WHERE r.finished_at IS NULL) AS live
    FROM penstock.runs r WHERE r.list_id IS NOT NULL GROUP BY r.list_id
) n
WHERE n.list_id = l.id;
UPDATE penstock.runs r SET is_awaited = true
FROM penstock.lists l WHERE l.id = r.list_id AND l.is_sequential AND l.state = 'expanding' AND r.finished_at IS NULL;

ALTER TABLE penstock.waits ADD COLUMN is_join boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN penstock.waits.is_join IS 'it is for the ends of runs or of a list, which are in penstock.joins';
ALTER TABLE penstock.waits DROP CONSTRAINT waits_for_something;
ALTER TABLE penstock.waits ADD CONSTRAINT waits_for_something CHECK (until IS NOT NULL OR signal IS NOT NULL OR is_join);

CREATE TABLE penstock.joins (
    waiter   uuid NOT NULL REFERENCES penstock.waits (run_id) ON DELETE CASCADE,
    awaited  uuid NOT NULL,
    position integer NOT NULL,
    is_known boolean NOT NULL DEFAULT false,
    is_done  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (waiter, awaited)
);
COMMENT ON COLUMN penstock.joins.awaited IS 'a run, or a list';
COMMENT ON COLUMN penstock.joins.is_known IS 'the awaited run will note its end; one that had ended before is done';
CREATE INDEX joins_awaited ON penstock.joins (awaited);
CREATE INDEX joins_unknown ON penstock.joins (waiter) WHERE NOT is_known;
CREATE INDEX joins_open ON penstock.joins (waiter) WHERE NOT is_done;
