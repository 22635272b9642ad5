-- migrate: no-transaction
CREATE INDEX CONCURRENTLY runs_later ON penstock.runs (scheduled_at) WHERE indexed_state = 'scheduled'
