-- What a mail about an account lets its reader do, once: choose a password, or show that the address is theirs. Only a
-- token's hash is kept. Where nobody has the email yet, user_id is null, and the user is made when the token is used.
CREATE TABLE penstock.account_tokens (
    digest      bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    environment text NOT NULL CHECK (environment IN ('development', 'live')),
    purpose     text NOT NULL CHECK (purpose IN ('password', 'email')),
    email       text NOT NULL CHECK (email = lower(email)),
    user_id     text CHECK (user_id IS NOT NULL OR purpose = 'password'),
    expires_at  timestamptz NOT NULL
);
CREATE INDEX account_tokens_email ON penstock.account_tokens (environment, email);
CREATE INDEX account_tokens_expires_at ON penstock.account_tokens (expires_at);
