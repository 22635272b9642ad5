-- Retention: how long what has ended is kept, and how far the deletion of older things has come.

ALTER TABLE penstock.environments
    ADD COLUMN retention text NOT NULL DEFAULT '30d'
    CHECK (retention::interval BETWEEN interval '1 day' AND interval '3650 days');
UPDATE penstock.environments SET retention = '7d' WHERE name = 'development';
COMMENT ON COLUMN penstock.environments.retention IS 'how long runs, deliveries and log lines are kept after their end; a duration such as 30d';

-- Runs are looked at once each, in the order in which they were created; `reached_at` and `reached_id` are the last one.
CREATE TABLE penstock.retention (
    environment text PRIMARY KEY REFERENCES penstock.environments,
    reached_at  timestamptz NOT NULL DEFAULT '-infinity',
    reached_id  uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    runs        bigint NOT NULL DEFAULT 0,
    chains      bigint NOT NULL DEFAULT 0,
    lists       bigint NOT NULL DEFAULT 0,
    deliveries  bigint NOT NULL DEFAULT 0,
    lines       bigint NOT NULL DEFAULT 0,
    worked_at   timestamptz
);
COMMENT ON TABLE penstock.retention IS 'what was deleted so far, because it had been kept long enough; one row per environment';
INSERT INTO penstock.retention (environment) SELECT name FROM penstock.environments;

-- Chains that could not be deleted when their first runs came up: something of them lives, or has ended since. Looked at again.
CREATE TABLE penstock.kept_chains (
    chain_id    uuid PRIMARY KEY,
    environment text NOT NULL,
    look_at     timestamptz NOT NULL
);
CREATE INDEX kept_chains_due ON penstock.kept_chains (environment, look_at);

CREATE INDEX lists_ended ON penstock.lists (environment, finished_at) WHERE state IN ('finished', 'failed');
-- For pages of the lists of both environments.
CREATE INDEX lists_listed ON penstock.lists (created_at);
CREATE INDEX tokens_expired ON penstock.tokens (expires_at) WHERE user_id IS NOT NULL;
CREATE INDEX tokens_revoked ON penstock.tokens (revoked_at) WHERE user_id IS NOT NULL;

-- The end of a tick's run counts for `pause_after_failures` even when the run is gone.
ALTER TABLE penstock.recurrence_ticks ADD COLUMN run_state text;
COMMENT ON COLUMN penstock.recurrence_ticks.run_state IS 'how its run ended; null while the run is still stored';

-- Runs with its owner's rights: schedulers may not change the audit, and delete of it only what is too old.
CREATE FUNCTION penstock.delete_old_acts(most integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted integer;
BEGIN
    DELETE FROM penstock.audit WHERE id = ANY(ARRAY(
        SELECT o.id FROM penstock.environments e
        CROSS JOIN LATERAL (
            SELECT a.id FROM penstock.audit a
            WHERE a.environment = e.name AND a.at < statement_timestamp() - interval '400 days'
            ORDER BY a.at DESC LIMIT most
        ) o
        LIMIT most
    ));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END $$;
