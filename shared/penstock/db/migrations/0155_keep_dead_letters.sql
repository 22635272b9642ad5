-- What needs a person: runs that have failed, and messages that could not be understood, admitted or handled.
--
-- The letter of a run has the id of the run. Triggers write it in the transaction in which the run fails, and note in the one that takes the
-- run up again that it was retried, whichever way that was asked for. Letters of messages are written by schedulers, which consume the queue
-- of the dead letters. `penstock.runs.dead_letters` describes all of it.
CREATE TABLE penstock.dead_letters (
    id            uuid PRIMARY KEY,
    environment   text NOT NULL REFERENCES penstock.environments,
    kind          text NOT NULL CHECK (kind IN ('run', 'message')),
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'retried', 'discarded', 'resolved')),
    reason        text NOT NULL,
    times         integer NOT NULL DEFAULT 1,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    workflow      text,
    chain_id      uuid,
    queue         text,
    exchange      text,
    routing_key   text,
    message       jsonb,
    body          bytea,
    size          bigint,
    death         text,
    publish_at    timestamptz,
    published_at  timestamptz,
    note          text,
    actor         text,
    acted_at      timestamptz,
    history       jsonb NOT NULL DEFAULT '[]',
    CONSTRAINT message_has_body CHECK ((kind = 'message') = (body IS NOT NULL AND size IS NOT NULL AND message IS NOT NULL))
) WITH (fillfactor = 80);
COMMENT ON COLUMN penstock.dead_letters.id IS 'of a run: that of the run';
COMMENT ON COLUMN penstock.dead_letters.times IS 'how often it came to the dead letters; more than once when a retry failed again';
COMMENT ON COLUMN penstock.dead_letters.message IS 'properties and headers; credentials among the headers are left out';
COMMENT ON COLUMN penstock.dead_letters.body IS 'the first 16 MiB of the message';
COMMENT ON COLUMN penstock.dead_letters.size IS 'of the whole body, in bytes';
COMMENT ON COLUMN penstock.dead_letters.death IS 'which event of dead-lettering was noted last: the same one delivered again changes nothing';
COMMENT ON COLUMN penstock.dead_letters.publish_at IS 'it is to be published again, at that time or later; null: nothing is to be published';
COMMENT ON COLUMN penstock.dead_letters.history IS 'the last 50 events, the oldest first';
CREATE INDEX dead_letters_newest ON penstock.dead_letters (environment, first_seen_at, id);
CREATE INDEX dead_letters_open ON penstock.dead_letters (environment, first_seen_at, id) WHERE state = 'open';
CREATE INDEX dead_letters_outbox ON penstock.dead_letters (publish_at) WHERE publish_at IS NOT NULL;
CREATE INDEX dead_letters_age ON penstock.dead_letters (environment, last_seen_at) WHERE kind = 'message';

CREATE FUNCTION penstock.extend_history(history jsonb, event jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_array_length(history) >= 50 THEN history - 0 ELSE history END || jsonb_build_array(event)
$$;

-- With their owner's rights: executors do not need any on the table.
CREATE FUNCTION penstock.note_dead_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told text := left(coalesce(NEW.error ->> 'message', NEW.error ->> 'kind', 'the run has failed'), 1000);
BEGIN
    INSERT INTO penstock.dead_letters AS d (id, environment, kind, reason, workflow, chain_id, history)
    VALUES (NEW.id, NEW.environment, 'run', told, NEW.workflow, NEW.chain_id,
            jsonb_build_array(jsonb_build_object('at', clock_timestamp(), 'state', 'open', 'reason', told, 'attempt', NEW.attempt)))
    ON CONFLICT (id) DO UPDATE SET state = 'open', reason = EXCLUDED.reason, times = d.times + 1, last_seen_at = EXCLUDED.last_seen_at,
        note = NULL, actor = NULL, acted_at = NULL, history = penstock.extend_history(d.history, EXCLUDED.history -> 0);
    INSERT INTO penstock.notices (environment, kind, details)
    VALUES (NEW.environment, 'dead_letters.run', jsonb_build_object(
        'message', 'a run of ' || NEW.workflow || ' has failed and is kept as a dead letter', 'workflow', NEW.workflow,
        'run_id', NEW.id, 'chain_id', NEW.chain_id));
    RETURN NULL;
END $$;
CREATE TRIGGER note_dead_run AFTER UPDATE OF state ON penstock.runs FOR EACH ROW
WHEN (NEW.state = 'failed' AND OLD.state <> 'failed') EXECUTE FUNCTION penstock.note_dead_run();

CREATE FUNCTION penstock.note_revived_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE penstock.dead_letters d
    SET state = 'retried', note = NULL, actor = NULL, acted_at = clock_timestamp(),
        history = penstock.extend_history(d.history, jsonb_build_object('at', clock_timestamp(), 'state', 'retried'))
    WHERE d.id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER note_revived_run AFTER UPDATE OF state ON penstock.runs FOR EACH ROW
WHEN (OLD.state = 'failed' AND NEW.state <> 'failed') EXECUTE FUNCTION penstock.note_revived_run();

INSERT INTO penstock.dead_letters (id, environment, kind, reason, workflow, chain_id, first_seen_at, last_seen_at, history)
SELECT r.id, r.environment, 'run', q.reason, r.workflow, r.chain_id, r.finished_at, r.finished_at,
       jsonb_build_array(jsonb_build_object('at', r.finished_at, 'state', 'open', 'reason', q.reason, 'attempt', r.attempt))
FROM penstock.runs r
CROSS JOIN LATERAL (SELECT left(coalesce(r.error ->> 'message', r.error ->> 'kind', 'the run has failed'), 1000) AS reason) q
WHERE r.state = 'failed' AND r.finished_at IS NOT NULL;

-- Dead letters are dealt with by filter, in their order.
ALTER TABLE penstock.operations
    DROP CONSTRAINT operations_kind_check,
    ADD CONSTRAINT operations_kind_check CHECK (kind IN (
        'runs.cancel', 'runs.retry', 'schedule.cancel', 'deliveries.replay',
        'dead-letters.retry', 'dead-letters.discard', 'dead-letters.resolve'));
COMMENT ON COLUMN penstock.operations.reached_at IS 'with reached_id: the last delivery, or dead letter, that was dealt with';
