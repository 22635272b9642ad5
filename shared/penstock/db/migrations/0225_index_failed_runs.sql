-- migrate: no-transaction
CREATE INDEX CONCURRENTLY runs_gone_wrong ON penstock.runs (created_at) WHERE indexed_state = 'failed'
