-- Idempotency keys of writes through the Data API, in the transaction of the write: a second request with the key waits for the first one, and
-- is answered like it.
CREATE TABLE penstock.thing_keys (
    environment text NOT NULL,
    caller      text NOT NULL,
    key         text NOT NULL,
    fingerprint bytea NOT NULL,
    status      integer NOT NULL,
    thing_id    text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment, caller, key)
);
COMMENT ON COLUMN penstock.thing_keys.fingerprint IS 'of the method, the path and the body: the same key for something else is refused';
CREATE INDEX thing_keys_age ON penstock.thing_keys (created_at);
