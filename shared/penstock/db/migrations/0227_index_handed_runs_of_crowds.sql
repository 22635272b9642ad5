-- migrate: no-transaction
CREATE INDEX CONCURRENTLY runs_crowd_handed ON penstock.runs (crowd)
WHERE crowd IS NOT NULL AND finished_at IS NULL AND indexed_state IS NULL
