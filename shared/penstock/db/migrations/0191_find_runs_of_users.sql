-- The runs that work for a user of the app, so that a user's runs are found however many others there are. An index on `runs` would be
-- written at each claim and each end; a row here is written once, and only for a run that has a user. Admins are not users of the app.
CREATE TABLE penstock.user_runs (
    user_id    text NOT NULL,
    created_at timestamptz NOT NULL,
    run_id     uuid NOT NULL,
    PRIMARY KEY (user_id, created_at, run_id)
);
COMMENT ON TABLE penstock.user_runs IS 'written by a trigger, deleted with the run';

CREATE FUNCTION penstock.is_app_user(context jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN length(context #>> '{user,_id}') BETWEEN 1 AND 200 AND context #>> '{user,_id}' !~ '^admin_user_.{1,}_(live|test)$';

-- With its owner's rights: services do not need any on the table but to read it.
CREATE FUNCTION penstock.note_user_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO penstock.user_runs (user_id, created_at, run_id) VALUES (NEW.context #>> '{user,_id}', NEW.created_at, NEW.id)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER note_user_run AFTER INSERT ON penstock.runs FOR EACH ROW
WHEN (penstock.is_app_user(NEW.context)) EXECUTE FUNCTION penstock.note_user_run();

INSERT INTO penstock.user_runs (user_id, created_at, run_id)
SELECT r.context #>> '{user,_id}', r.created_at, r.id FROM penstock.runs r WHERE penstock.is_app_user(r.context);
