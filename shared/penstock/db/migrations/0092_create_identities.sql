-- Who has come with a token of an issuer (OpenID Connect), and which user of the app that is.
CREATE TABLE penstock.identities (
    environment text NOT NULL CHECK (environment IN ('development', 'live')),
    issuer      text NOT NULL,
    subject     text NOT NULL,
    user_id     text NOT NULL,
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment, issuer, subject)
);
CREATE INDEX identities_user ON penstock.identities (environment, user_id);
