-- What makes this installation this one: the key that signs the lineage of outgoing calls, so that a call that comes back is known again.
-- Random from the server's own source: three random UUIDs hold 366 random bits, of which a hash makes 256.

CREATE TABLE penstock.installation (
    is_only     boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    lineage_key bytea NOT NULL CHECK (octet_length(lineage_key) = 32),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO penstock.installation (lineage_key)
VALUES (sha256(decode(replace(concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), '-', ''), 'hex')));
