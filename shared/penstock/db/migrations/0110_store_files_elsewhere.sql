-- The content of a file may lie in a directory or in S3-compatible storage instead of in file_chunks. Its row says where; what is deleted
-- here is noted, and deleted there by the scheduler: a transaction cannot wait for another system.
ALTER TABLE penstock.files ADD COLUMN object text;
COMMENT ON COLUMN penstock.files.object IS 'the name under which storage has the content; null: it is in file_chunks';

CREATE TABLE penstock.removed_objects (
    object     text PRIMARY KEY,
    removed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE penstock.removed_objects IS 'content in storage whose file is gone, until it is deleted there too';

CREATE FUNCTION penstock.note_removed_object() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO penstock.removed_objects (object) VALUES (OLD.object) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_removed_object AFTER DELETE ON penstock.files
    FOR EACH ROW WHEN (OLD.object IS NOT NULL) EXECUTE FUNCTION penstock.note_removed_object();
