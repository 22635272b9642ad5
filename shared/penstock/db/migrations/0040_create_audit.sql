-- Who steered what, and when: written by the transaction of the act itself, so that there is neither without the other.
CREATE TABLE penstock.audit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor       text NOT NULL,
    action      text NOT NULL,
    subject     text NOT NULL DEFAULT '',
    before      jsonb,
    after       jsonb
);
COMMENT ON COLUMN penstock.audit.actor IS 'admin, the label of a token, or cli:<system user>';
COMMENT ON COLUMN penstock.audit.before IS 'never the value of a secret';
CREATE INDEX audit_at ON penstock.audit (environment, at DESC, id DESC);
