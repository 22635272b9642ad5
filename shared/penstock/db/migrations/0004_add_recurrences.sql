-- Rules that start runs again and again: of triggers (`on: recurrence`), of steps (`recur`) and of people, in one table.

CREATE TABLE penstock.recurrences (
    id               uuid PRIMARY KEY,
    environment      text NOT NULL REFERENCES penstock.environments,
    workflow         text NOT NULL,
    origin           text NOT NULL CHECK (origin IN ('trigger', 'step')),
    thing            text,
    cron             text,
    every            text CHECK (every IN ('daily', 'weekly', 'monthly', 'quarterly', 'yearly')),
    start_at         timestamptz,
    timezone         text NOT NULL,
    overlap          text NOT NULL CHECK (overlap IN ('skip', 'allow', 'queue')),
    catch_up_seconds double precision NOT NULL CHECK (catch_up_seconds >= 0),
    jitter_seconds   double precision NOT NULL CHECK (jitter_seconds >= 0),
    parameters       jsonb NOT NULL DEFAULT '{}',
    context          jsonb NOT NULL DEFAULT '{}',
    generation       integer NOT NULL DEFAULT 0 CHECK (generation >= 0),
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    paused_at        timestamptz,
    next_tick_at     timestamptz,
    due_at           timestamptz,
    held_since       timestamptz,
    last_tick_at     timestamptz,
    last_run_id      uuid,
    ticks            bigint NOT NULL DEFAULT 0,
    skipped          bigint NOT NULL DEFAULT 0,
    missed           bigint NOT NULL DEFAULT 0,
    refused          bigint NOT NULL DEFAULT 0,
    CONSTRAINT cron_or_period CHECK ((cron IS NULL) <> (every IS NULL) AND (every IS NULL OR start_at IS NOT NULL)),
    CONSTRAINT due_unless_paused_or_over CHECK ((due_at IS NOT NULL) = (paused_at IS NULL AND next_tick_at IS NOT NULL)),
    CONSTRAINT held_only_while_due CHECK (held_since IS NULL OR due_at IS NOT NULL)
) WITH (fillfactor = 70);
COMMENT ON COLUMN penstock.recurrences.id IS 'derived: from the workflow and the position of its trigger, or from the workflow and the thing';
COMMENT ON COLUMN penstock.recurrences.generation IS 'how many recurrences set one another up to this one; bounded by the depth limit';
COMMENT ON COLUMN penstock.recurrences.next_tick_at IS 'the time on the clock of the tick that comes next; null: the rule never comes true again';
COMMENT ON COLUMN penstock.recurrences.due_at IS 'when that tick is looked at: its time and its jitter, or later while it waits for the run before';
COMMENT ON COLUMN penstock.recurrences.held_since IS 'since when the tick waits for the run before it (overlap: queue)';
CREATE INDEX recurrences_due ON penstock.recurrences (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX recurrences_listed ON penstock.recurrences (environment, workflow, id);
