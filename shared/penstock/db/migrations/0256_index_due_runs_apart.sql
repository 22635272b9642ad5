-- migrate: no-transaction
-- As for crowds: `runs_scheduled` would have it step over all due runs of crowds to find one that is of none.
CREATE INDEX CONCURRENTLY runs_due_next ON penstock.runs (scheduled_at)
WHERE (indexed_state || '') = 'scheduled' AND parked_at IS NULL AND crowd IS NULL
