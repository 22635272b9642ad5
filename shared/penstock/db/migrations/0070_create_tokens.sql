-- Tokens of callers: of programs and people that steer (with a role), and of users of an app. Only a token's hash is
-- kept, so that a copy of the database gives nobody access.
CREATE TABLE penstock.tokens (
    id            uuid PRIMARY KEY,
    digest        bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    environment   text CHECK (environment IN ('development', 'live')),
    role          text CHECK (role IN ('viewer', 'operator', 'admin')),
    user_id       text,
    label         text NOT NULL DEFAULT '',
    workflows     text[],
    types         text[],
    sees_payloads boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by    text NOT NULL,
    expires_at    timestamptz,
    revoked_at    timestamptz,
    last_used_at  timestamptz,
    CHECK ((role IS NULL) <> (user_id IS NULL)),
    CHECK (user_id IS NULL OR (environment IS NOT NULL AND expires_at IS NOT NULL))
);
COMMENT ON COLUMN penstock.tokens.digest IS 'SHA-256 of the token';
COMMENT ON COLUMN penstock.tokens.environment IS 'null: both; a user lives in one';
COMMENT ON COLUMN penstock.tokens.workflows IS 'null: all of them';
COMMENT ON COLUMN penstock.tokens.last_used_at IS 'to the minute';
CREATE INDEX tokens_created_at ON penstock.tokens (created_at DESC, id DESC);
CREATE INDEX tokens_user ON penstock.tokens (environment, user_id) WHERE user_id IS NOT NULL AND revoked_at IS NULL;
