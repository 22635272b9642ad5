-- Files that came with calls are deleted once no thing and no run has referred to them for a time. Schedulers look for references; a thing
-- that is written with the URL of a file notes so here in the same transaction, so that what is about to be deleted stays.
-- Files from before were promised to stay until somebody deletes them: they count as used for good.
ALTER TABLE penstock.files
    ADD COLUMN used_at   timestamptz NOT NULL DEFAULT 'infinity',
    ADD COLUMN looked_at timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN is_unused boolean NOT NULL DEFAULT false;
ALTER TABLE penstock.files ALTER COLUMN used_at SET DEFAULT clock_timestamp();
COMMENT ON COLUMN penstock.files.used_at IS 'until when it is known to be in use; in the future where a look at it can wait';
COMMENT ON COLUMN penstock.files.looked_at IS 'when a scheduler last began to look for references to it';
COMMENT ON COLUMN penstock.files.is_unused IS 'whether the last look found no reference: the next one that finds none deletes it';
CREATE INDEX files_use ON penstock.files (used_at) WHERE expires_at = 'infinity';

-- Deploying puts it on the tables of types with files. With its owner's rights: who may write things need not have any in this schema. What a thing mentioned before costs nothing, nor does
-- what was used a moment ago: a file that many things share is one row.
CREATE FUNCTION penstock.keep_mentioned_files() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    UPDATE penstock.files f
    SET used_at = greatest(f.used_at, clock_timestamp()), is_unused = false
    FROM (
        SELECT part[1]::uuid AS id
        FROM regexp_matches(NEW::text, '/fileupload/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})', 'g') part
        EXCEPT
        SELECT part[1]::uuid
        FROM regexp_matches(
            CASE TG_OP WHEN 'UPDATE' THEN OLD::text ELSE '' END,
            '/fileupload/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})', 'g') part
    ) mentioned
    WHERE f.id = mentioned.id AND (f.is_unused OR f.used_at < clock_timestamp() - interval '1 minute');
    RETURN NULL;
END
$$;
