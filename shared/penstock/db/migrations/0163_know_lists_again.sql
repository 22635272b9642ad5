-- A list that is asked for again with the same Idempotency-Key has the same id; this tells whether it is the same request.
ALTER TABLE penstock.lists ADD COLUMN request_digest bytea;
COMMENT ON COLUMN penstock.lists.request_digest IS 'SHA-256 of the request that has begun it, if that had an Idempotency-Key';
