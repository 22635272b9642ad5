-- migrate: no-transaction
-- Queued and running: a claim does not move a run between indexes.
CREATE INDEX CONCURRENTLY runs_handed ON penstock.runs (dispatched_at) WHERE finished_at IS NULL AND indexed_state IS NULL
