-- migrate: no-transaction
-- A root is found by its id: its chain has the same.
CREATE INDEX CONCURRENTLY runs_below ON penstock.runs (chain_id) WHERE chain_id <> id
