-- Pauses of what is coming: of an environment, a workflow, a chain, a list, or a time. What becomes due meanwhile is parked: it leaves
-- the indexes by which due rows are found, so that a long pause costs the others nothing. `penstock.runs.schedule.pauses` has the whole story.

ALTER TABLE penstock.environments ADD COLUMN has_pauses boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN penstock.environments.has_pauses IS
    'read with every batch that is admitted, dispatched or claimed, so that these look at the pauses only where there are any';

CREATE TABLE penstock.pauses (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    environment text NOT NULL REFERENCES penstock.environments,
    workflow    text,
    chain_id    uuid,
    list_id     uuid,
    since       timestamptz,
    until       timestamptz,
    note        text,
    paused_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    lifted_at   timestamptz,
    drops       boolean NOT NULL DEFAULT false
);
COMMENT ON COLUMN penstock.pauses.since IS 'with until: only what is due from then on and before; null matters not, here and in the columns above';
COMMENT ON COLUMN penstock.pauses.lifted_at IS 'no longer in force; a scheduler releases or drops what it had parked, then deletes the row';
COMMENT ON COLUMN penstock.pauses.drops IS 'what became due during the pause is dropped when it is lifted';

CREATE FUNCTION penstock.matches_pause(
    pause penstock.pauses, environment text, workflow text, chain_id uuid, list_id uuid, due_at timestamptz
) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (pause).environment = environment
   AND ((pause).workflow IS NULL OR (pause).workflow = workflow)
   AND ((pause).chain_id IS NULL OR (pause).chain_id IS NOT DISTINCT FROM chain_id)
   AND ((pause).list_id IS NULL OR (pause).list_id IS NOT DISTINCT FROM list_id)
   AND ((pause).since IS NULL OR due_at >= (pause).since)
   AND ((pause).until IS NULL OR due_at < (pause).until);

-- The pause that holds this back, the first of several; null when none does.
CREATE FUNCTION penstock.find_pause(environment text, workflow text, chain_id uuid, list_id uuid, due_at timestamptz)
RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p.id FROM penstock.pauses p
    WHERE p.lifted_at IS NULL AND penstock.matches_pause(p, $1, $2, $3, $4, $5)
    ORDER BY p.paused_at, p.id LIMIT 1;
END;

ALTER TABLE penstock.runs ADD COLUMN parked_at timestamptz;
COMMENT ON COLUMN penstock.runs.parked_at IS 'since when a scheduled run is due and held back by a pause';
-- Beside `runs_scheduled`, which lists all that is coming, and which schedulers of the previous release still use.
CREATE INDEX runs_due ON penstock.runs (scheduled_at) WHERE state = 'scheduled' AND parked_at IS NULL;
CREATE INDEX runs_parked ON penstock.runs (environment, scheduled_at) WHERE parked_at IS NOT NULL;

-- What ends, moves or starts a parked row need not know that it is parked: a scheduler looks again.
CREATE FUNCTION penstock.unpark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.parked_at := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER unpark BEFORE UPDATE OF state, scheduled_at ON penstock.runs FOR EACH ROW
WHEN (OLD.parked_at IS NOT NULL AND (NEW.state <> 'scheduled' OR NEW.scheduled_at <> OLD.scheduled_at))
EXECUTE FUNCTION penstock.unpark();

ALTER TABLE penstock.waits ADD COLUMN parked_at timestamptz;
COMMENT ON COLUMN penstock.waits.parked_at IS 'since when the wait is over and its run held back by a pause';
DROP INDEX penstock.waits_due;
CREATE INDEX waits_due ON penstock.waits (until) WHERE until IS NOT NULL AND parked_at IS NULL;
CREATE INDEX waits_until ON penstock.waits (until) WHERE until IS NOT NULL;
CREATE TRIGGER unpark BEFORE UPDATE OF until ON penstock.waits FOR EACH ROW
WHEN (OLD.parked_at IS NOT NULL AND NEW.until IS DISTINCT FROM OLD.until) EXECUTE FUNCTION penstock.unpark();

ALTER TABLE penstock.recurrences
    ADD COLUMN parked_at timestamptz, ADD COLUMN owed_since timestamptz, ADD COLUMN dropped_until timestamptz;
COMMENT ON COLUMN penstock.recurrences.parked_at IS 'since when a tick is due and held back by a pause of the schedule';
COMMENT ON COLUMN penstock.recurrences.owed_since IS 'ticks that were due from then on are made up, however long ago: a pause held them back';
COMMENT ON COLUMN penstock.recurrences.dropped_until IS 'ticks that were due before are passed over: they were dropped when a pause was lifted';
DROP INDEX penstock.recurrences_due;
CREATE INDEX recurrences_due ON penstock.recurrences (due_at) WHERE due_at IS NOT NULL AND parked_at IS NULL;
CREATE TRIGGER unpark BEFORE UPDATE OF due_at ON penstock.recurrences FOR EACH ROW
WHEN (OLD.parked_at IS NOT NULL AND NEW.due_at IS DISTINCT FROM OLD.due_at) EXECUTE FUNCTION penstock.unpark();
