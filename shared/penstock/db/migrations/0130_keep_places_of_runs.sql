-- Flow control: a run of a workflow with limits has a place under each of them. `penstock.runs.places` has the whole story.
--
-- A run that is due and may not start yet is `scheduled` and parked, so it is in none of the indexes of due rows. Whatever queues a run,
-- the trigger below sends it to wait where it has not got its places; whatever takes it out of `queued` or `running`, the trigger gives
-- them back. So no statement that moves runs has to know of this, and runs without limits pay for reading one null.

ALTER TABLE penstock.runs ADD COLUMN is_limited boolean;
COMMENT ON COLUMN penstock.runs.is_limited IS 'true: it has rows in penstock.places; null: nothing limits it';

CREATE SEQUENCE penstock.places_position;
CREATE TABLE penstock.places (
    run_id      uuid NOT NULL,
    rule        text NOT NULL,
    environment text NOT NULL,
    workflow    text NOT NULL,
    scope       uuid NOT NULL,
    key         text NOT NULL,
    priority    smallint NOT NULL,
    position    bigint NOT NULL DEFAULT nextval('penstock.places_position'),
    waits_since timestamptz,
    taken_at    timestamptz,
    is_done     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (run_id, rule)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON COLUMN penstock.places.rule IS 'concurrency:0, rate:0 …, or sequence: which of the rules of its workflow';
COMMENT ON COLUMN penstock.places.scope IS 'a hash of environment, workflow, rule and key: those with the same one share a limit';
COMMENT ON COLUMN penstock.places.position IS 'the order of admission';
COMMENT ON COLUMN penstock.places.is_done IS 'its run has ended and may be taken up again; a sequence continues without it';
CREATE INDEX places_waiting ON penstock.places (scope, priority, position) WHERE waits_since IS NOT NULL;
CREATE INDEX places_taken ON penstock.places (scope) WHERE taken_at IS NOT NULL;
CREATE INDEX places_line ON penstock.places (scope, position) WHERE rule = 'sequence' AND NOT is_done;
CREATE INDEX places_done ON penstock.places (position) WHERE is_done;

-- What a scheduler has to look at: a limit under which somebody arrived, or left, or under which the next may start at that time.
CREATE TABLE penstock.turns (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    workflow    text NOT NULL,
    rule        text NOT NULL,
    scope       uuid NOT NULL,
    due_at      timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX turns_due ON penstock.turns (due_at);
CREATE INDEX turns_scope ON penstock.turns (scope);

CREATE TABLE penstock.rate_uses (
    scope uuid NOT NULL,
    at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON COLUMN penstock.rate_uses.until IS 'when the start at that time no longer counts';
CREATE INDEX rate_uses_scope ON penstock.rate_uses (scope, at);
CREATE INDEX rate_uses_until ON penstock.rate_uses (until);

CREATE TABLE penstock.debounces (
    scope       uuid PRIMARY KEY,
    run_id      uuid NOT NULL,
    first_at    timestamptz NOT NULL
);
COMMENT ON COLUMN penstock.debounces.run_id IS 'the run that the next one replaces, if it has not started by then';
COMMENT ON COLUMN penstock.debounces.first_at IS 'when the first run was asked for that this one has replaced';
CREATE INDEX debounces_first ON penstock.debounces (first_at);
CREATE INDEX debounces_run ON penstock.debounces (run_id);

CREATE FUNCTION penstock.pass_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'queued' THEN
        UPDATE penstock.places p SET waits_since = coalesce(p.waits_since, clock_timestamp()), is_done = false
        WHERE p.run_id = NEW.id AND p.taken_at IS NULL;
        IF FOUND THEN
            INSERT INTO penstock.turns (environment, workflow, rule, scope)
            SELECT p.environment, p.workflow, p.rule, p.scope FROM penstock.places p
            WHERE p.run_id = NEW.id AND p.waits_since IS NOT NULL;
            NEW.state := 'scheduled';
            NEW.parked_at := clock_timestamp();
            NEW.dispatched_at := NULL;
        END IF;
        RETURN NEW;
    END IF;
    INSERT INTO penstock.turns (environment, workflow, rule, scope)
    SELECT p.environment, p.workflow, p.rule, p.scope FROM penstock.places p
    WHERE p.run_id = NEW.id AND (p.taken_at IS NOT NULL AND p.rule NOT LIKE 'rate:%' OR p.rule = 'sequence' AND NEW.finished_at IS NOT NULL);
    IF NEW.state IN ('succeeded', 'skipped') THEN
        DELETE FROM penstock.places p WHERE p.run_id = NEW.id;
    ELSE
        -- A sequence is held until the run has ended. What only waits in a step, or was never begun, does not count as a start again.
        UPDATE penstock.places p
        SET waits_since = NULL,
            taken_at = CASE WHEN p.rule = 'sequence' AND NEW.finished_at IS NULL
                              OR p.rule LIKE 'rate:%' AND (NEW.state = 'waiting' OR NEW.state = 'scheduled' AND OLD.state = 'queued')
                            THEN p.taken_at END,
            is_done = NEW.state = 'cancelled' OR NEW.finished_at IS NOT NULL AND p.rule <> 'sequence'
        WHERE p.run_id = NEW.id;
    END IF;
    RETURN NEW;
END $$;

-- Before `unpark`, by its name: what is sent back to wait stays parked.
CREATE TRIGGER pass_gate BEFORE UPDATE OF state ON penstock.runs FOR EACH ROW
WHEN (NEW.is_limited AND NEW.state <> OLD.state
      AND NOT (NEW.state IN ('queued', 'running') AND OLD.state IN ('queued', 'running')))
EXECUTE FUNCTION penstock.pass_gate();

-- With one column more than `asked_run`, which the previous release still sends.
CREATE TYPE penstock.requested_run AS (
    id               uuid,
    environment      text,
    workflow         text,
    trigger          text,
    parameters       text,
    parent_run_id    uuid,
    claimed_depth    integer,
    claimed_chain_id uuid,
    depth_limit      integer,
    progress         text,
    scheduled_at     timestamptz,
    priority         integer,
    context          text,
    list_id          uuid,
    delivery_id      uuid,
    is_counted       boolean,
    is_limited       boolean
);
