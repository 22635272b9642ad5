-- migrate: no-transaction
CREATE INDEX CONCURRENTLY runs_crowd_due_soon ON penstock.runs (crowd, scheduled_at)
WHERE indexed_state = 'scheduled' AND parked_at IS NULL AND crowd IS NOT NULL
