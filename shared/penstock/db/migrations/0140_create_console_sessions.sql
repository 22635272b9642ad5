-- Who is logged in to the console. What the browser holds is random and stored only as a hash, as tokens are.
CREATE TABLE penstock.console_sessions (
    digest        bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    -- A session lives by one of three: a stored token, the admin token of the settings, or an identity of the issuer.
    token_id      uuid REFERENCES penstock.tokens ON DELETE CASCADE,
    root_digest   bytea CHECK (octet_length(root_digest) = 32),
    identity      text,
    role          text CHECK (role IN ('viewer', 'operator', 'admin')),
    sees_payloads boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz NOT NULL,
    CHECK (num_nonnulls(token_id, root_digest, identity) = 1),
    CHECK ((identity IS NULL) = (role IS NULL))
);
COMMENT ON COLUMN penstock.console_sessions.digest IS 'SHA-256 of what the cookie holds';
COMMENT ON COLUMN penstock.console_sessions.root_digest IS 'another admin token in the settings ends the session';
COMMENT ON COLUMN penstock.console_sessions.last_used_at IS 'to the minute';
CREATE INDEX console_sessions_token ON penstock.console_sessions (token_id) WHERE token_id IS NOT NULL;
CREATE INDEX console_sessions_expiry ON penstock.console_sessions (expires_at);
