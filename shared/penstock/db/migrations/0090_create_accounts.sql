-- What the users of an app log in with, apart from the things that they are: no search, export or API of things shows it.
CREATE TABLE penstock.accounts (
    environment   text NOT NULL CHECK (environment IN ('development', 'live')),
    user_id       text NOT NULL,
    email         text NOT NULL CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 320),
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    verified_at   timestamptz,
    changed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment, user_id),
    UNIQUE (environment, email)
);
COMMENT ON COLUMN penstock.accounts.email IS 'what one logs in with, in lower case; that of the thing may be another one';
COMMENT ON COLUMN penstock.accounts.verified_at IS 'when its owner has shown to receive mail at this address';

-- How often passwords were tried: for each address of a client, each email, and both together, each as a hash. Emails
-- are counted whether somebody has them or not, so that what is counted says nothing about who has an account.
CREATE TABLE penstock.password_tries (
    environment text NOT NULL CHECK (environment IN ('development', 'live')),
    key         bytea NOT NULL CHECK (octet_length(key) = 32),
    count       integer NOT NULL CHECK (count >= 0),
    until       timestamptz NOT NULL,
    PRIMARY KEY (environment, key)
);
COMMENT ON COLUMN penstock.password_tries.until IS 'when the count begins again';
CREATE INDEX password_tries_until ON penstock.password_tries (until);

-- From where somebody has logged in: wrong passwords that others try elsewhere do not lock them out there.
CREATE TABLE penstock.known_places (
    environment text NOT NULL CHECK (environment IN ('development', 'live')),
    key         bytea NOT NULL CHECK (octet_length(key) = 32),
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment, key)
);
COMMENT ON COLUMN penstock.known_places.key IS 'a hash of the email and the address together';
CREATE INDEX known_places_seen_at ON penstock.known_places (seen_at);

-- A session that nobody uses ends by itself.
ALTER TABLE penstock.tokens ADD COLUMN idle_after interval;
COMMENT ON COLUMN penstock.tokens.idle_after IS 'the token ends when it was not used for so long; null: it does not';

-- An encrypted password cannot be written in SQL, and one that is not encrypted must not be stored, not even for a
-- moment: penstock.schedule() refuses it. Which parameters are passwords is kept at hand when an app is deployed: reading
-- a whole app for each request would cost more than the rest of it.
ALTER TABLE penstock.environments ADD COLUMN passwords jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN penstock.environments.passwords IS 'the parameters of type password, by the names of their workflows';

CREATE FUNCTION penstock.refuse_passwords() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given text;
BEGIN
    SELECT p.parameter INTO given
    FROM penstock.environments e
    CROSS JOIN LATERAL jsonb_array_elements_text(e.passwords -> NEW.workflow) AS p (parameter)
    WHERE e.name = NEW.environment AND coalesce(NEW.parameters -> p.parameter, 'null') <> 'null'
    LIMIT 1;
    IF given IS NOT NULL THEN
        RAISE EXCEPTION 'penstock.schedule: the parameter % of % is a password', quote_literal(given), NEW.workflow
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Call the workflow over HTTP: there it is encrypted before it is stored.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_passwords BEFORE INSERT ON penstock.inbox
FOR EACH ROW EXECUTE FUNCTION penstock.refuse_passwords();
