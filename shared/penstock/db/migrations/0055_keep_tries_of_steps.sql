-- Null for nearly all steps: one try, which the row itself describes. Else every try so far, the last one included:
-- [{"attempt", "started_at", "finished_at", "status"?, "error"?}]. Written with the row of the step, never by itself.
ALTER TABLE penstock.steps ADD COLUMN tries jsonb;
COMMENT ON COLUMN penstock.steps.tries IS 'every try of the step, when there was more than one';
