-- Secrets of apps, encrypted by the processes that know a key (PENSTOCK_SECRET_KEY); the database never sees one in the clear.

CREATE SEQUENCE penstock.secret_versions;

CREATE TABLE penstock.secrets (
    environment text NOT NULL REFERENCES penstock.environments,
    name        text NOT NULL CHECK (name ~ '^[A-Za-z_][A-Za-z0-9_]{0,99}$'),
    key_id      text NOT NULL,
    content     bytea NOT NULL,
    version     bigint NOT NULL DEFAULT nextval('penstock.secret_versions'),
    set_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment, name)
);
COMMENT ON COLUMN penstock.secrets.key_id IS 'which key encrypted it: the beginning of a hash of the key';
COMMENT ON COLUMN penstock.secrets.version IS 'a new one whenever it is set: how services see that something has changed';
