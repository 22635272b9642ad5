-- migrate: no-transaction
CREATE INDEX CONCURRENTLY runs_due_soon ON penstock.runs (scheduled_at)
WHERE indexed_state = 'scheduled' AND parked_at IS NULL AND crowd IS NULL
