-- Pages of the log by each of its filters, found by an index however many lines there are. Lines that say no more than
-- that a run ended well are most of all, and have an empty message: the indexes of texts, levels and kinds leave them
-- out, so that an ending costs no more than it has to.

-- Whose run wrote the line: the `_id` of a user of the app.
ALTER TABLE penstock.logs ADD COLUMN user_id text;
-- Followers of the log continue where they were, although transactions commit in another order than that of ids: what
-- is new is what their last snapshot did not see. Lines of earlier releases have none, and are history to everyone.
ALTER TABLE penstock.logs ADD COLUMN tx xid8;
ALTER TABLE penstock.logs ALTER COLUMN tx SET DEFAULT pg_current_xact_id();
COMMENT ON COLUMN penstock.logs.tx IS 'the transaction that wrote it, for those who follow the log';

-- The words of a line, for `contains`: runs of ASCII letters and digits, and every other character by itself. So it
-- means the same under each locale. A word of more than 60 characters is divided, because a lexeme has a limit.
CREATE FUNCTION penstock.log_words(event text, message text, workflow text, step text) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 500
AS $$
BEGIN
    RETURN array_to_tsvector(array_remove(string_to_array(regexp_replace(regexp_replace(
        lower(left(event || ' ' || message || ' ' || coalesce(workflow, '') || ' ' || coalesce(step, ''), 8000)),
        '([a-z0-9]{60}|[^\x01-\x7f])', ' \1 ', 'g'), '[\x01-\x2f\x3a-\x60\x7b-\x7f]+', ' ', 'g'), ' '), ''));
END
$$;

CREATE INDEX logs_words ON penstock.logs USING gin (penstock.log_words(event, message, workflow, step))
    WHERE message <> '';
CREATE INDEX logs_workflow ON penstock.logs (environment, workflow, at, id);
CREATE INDEX logs_of_chain ON penstock.logs (chain_id, at, id) WHERE chain_id IS NOT NULL;
CREATE INDEX logs_user ON penstock.logs (environment, user_id, at, id) WHERE user_id IS NOT NULL;
CREATE INDEX logs_level ON penstock.logs (environment, level, at, id) WHERE level IN ('warning', 'error');
CREATE INDEX logs_event ON penstock.logs (environment, event, at, id) WHERE event <> 'event completed';
CREATE INDEX logs_tx ON penstock.logs (tx, id) WHERE tx IS NOT NULL;
DROP INDEX penstock.logs_chain;
