-- The keys of a delivery are taken until `unique_until`; after that they are free, and are given up (NULL) when somebody
-- wants them. Deliveries of earlier releases have no time: theirs ends 30 days after they were received.
ALTER TABLE penstock.deliveries
    ALTER COLUMN dedup_key DROP NOT NULL,
    ADD COLUMN signature_key text,
    ADD COLUMN unique_until timestamptz;

-- An id that the signature does not cover can be changed by anybody who replays a request; what is signed cannot.
CREATE UNIQUE INDEX deliveries_signature ON penstock.deliveries (environment, source, signature_key)
    WHERE signature_key IS NOT NULL;
