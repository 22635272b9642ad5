-- What people may want to be notified of. Written by the transaction in which it happens, and appended only: a chain that runs away must
-- not make its transactions wait for each other. A scheduler takes the rows out, and sends or counts them.
CREATE TABLE penstock.notices (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    kind        text NOT NULL,
    count       integer NOT NULL DEFAULT 1 CHECK (count > 0),
    details     jsonb NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX notices_kind ON penstock.notices (environment, kind, id);

-- The lock of this row decides between racing schedulers.
CREATE TABLE penstock.notice_throttles (
    environment text NOT NULL,
    kind        text NOT NULL,
    last_at     timestamptz,
    held_back   bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (environment, kind)
);
COMMENT ON COLUMN penstock.notice_throttles.held_back IS 'what happened since last_at and is said in the next notification';

CREATE TABLE penstock.notice_deliveries (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    environment text NOT NULL,
    kind        text NOT NULL,
    channel     text NOT NULL CHECK (channel IN ('email', 'webhook', 'slack')),
    target      jsonb NOT NULL,
    content     jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts    smallint NOT NULL DEFAULT 0,
    next_try_at timestamptz DEFAULT clock_timestamp(),
    sent_at     timestamptz
);
COMMENT ON COLUMN penstock.notice_deliveries.next_try_at IS 'null once a scheduler has taken it: from then on nobody sends it again';
CREATE INDEX notice_deliveries_due ON penstock.notice_deliveries (channel, next_try_at) WHERE next_try_at IS NOT NULL;

ALTER TABLE penstock.environments
    ADD COLUMN notification_webhooks jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN notification_slack text[] NOT NULL DEFAULT '{}',
    ADD COLUMN notification_every jsonb NOT NULL DEFAULT '{}';

-- What was sent today stays the only mail of its day, and what still waits is sent by the schedulers of this release.
INSERT INTO penstock.notice_throttles (environment, kind, last_at)
SELECT environment, CASE kind WHEN 'terminated' THEN 'terminations' ELSE 'observed' END, max(created_at)
FROM penstock.notifications
WHERE kind IN ('terminated', 'observed') AND next_try_at IS NULL
GROUP BY 1, 2;
INSERT INTO penstock.notices (environment, kind, details)
SELECT environment, CASE kind WHEN 'terminated' THEN 'terminations' WHEN 'observed' THEN kind
           WHEN 'recurrence_paused' THEN 'recurrences.paused' ELSE 'workload.' || kind END, details
FROM penstock.notifications
WHERE next_try_at IS NOT NULL;
UPDATE penstock.notifications SET next_try_at = NULL WHERE next_try_at IS NOT NULL;

-- Of a recurrence whose run has failed. What the error says stays in the run: it may hold what callers have sent.
CREATE FUNCTION penstock.note_failed_tick() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO penstock.notices (environment, kind, details)
    VALUES (NEW.environment, 'recurrences', jsonb_build_object(
        'message', format('a run of the recurrence of %s has failed', NEW.workflow),
        'workflow', NEW.workflow, 'run_id', NEW.id, 'chain_id', NEW.chain_id));
    RETURN NULL;
END $$;
CREATE TRIGGER note_failed_tick AFTER UPDATE OF state ON penstock.runs FOR EACH ROW
WHEN (NEW.state = 'failed' AND OLD.state <> 'failed' AND NEW.trigger = 'recurrence') EXECUTE FUNCTION penstock.note_failed_tick();
