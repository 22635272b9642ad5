-- Recurrences that end, replace the run before, or pause by themselves; and what became of their last ticks.

ALTER TABLE penstock.recurrences
    ADD COLUMN end_at timestamptz,
    ADD COLUMN times bigint CHECK (times >= 1),
    ADD COLUMN ticks_left bigint CHECK (ticks_left >= 0),
    ADD COLUMN pause_after_failures integer CHECK (pause_after_failures BETWEEN 1 AND 100),
    ADD COLUMN pause_note text,
    ADD COLUMN resumed_at timestamptz,
    DROP CONSTRAINT recurrences_overlap_check,
    ADD CONSTRAINT recurrences_overlap_check CHECK (overlap IN ('skip', 'allow', 'queue', 'cancel_other'));
COMMENT ON COLUMN penstock.recurrences.times IS 'how many ticks start a run, until it ends; null: any number';
COMMENT ON COLUMN penstock.recurrences.ticks_left IS 'how many of them are left';
COMMENT ON COLUMN penstock.recurrences.resumed_at IS 'failures before are not counted: somebody has looked at them';
CREATE INDEX recurrences_watched ON penstock.recurrences (id) WHERE pause_after_failures IS NOT NULL AND paused_at IS NULL;

CREATE TABLE penstock.recurrence_ticks (
    recurrence_id uuid NOT NULL REFERENCES penstock.recurrences ON DELETE CASCADE,
    tick_at       timestamptz NOT NULL,
    outcome       text NOT NULL CHECK (outcome IN ('started', 'skipped', 'missed', 'dropped', 'refused')),
    run_id        uuid,
    reason        text,
    decided_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (recurrence_id, tick_at)
);
COMMENT ON TABLE penstock.recurrence_ticks IS 'the last ones of each recurrence';
