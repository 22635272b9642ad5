-- Files that steps hand to each other (an export to an email, an upload to an import), in pieces so that none is ever whole in memory;
-- and how far imports have come, so that none repeats what it has done.

CREATE TABLE penstock.files (
    id           uuid PRIMARY KEY,
    environment  text NOT NULL,
    name         text NOT NULL,
    content_type text NOT NULL,
    size         bigint CHECK (size >= 0),
    run_id       uuid,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL DEFAULT clock_timestamp() + interval '7 days'
);
COMMENT ON COLUMN penstock.files.size IS 'in bytes; null until all of the file is stored: before that nobody sees it';
COMMENT ON COLUMN penstock.files.run_id IS 'the run that made it, if one did';
CREATE INDEX files_expiry ON penstock.files (expires_at);

CREATE TABLE penstock.file_chunks (
    file_id  uuid NOT NULL REFERENCES penstock.files ON DELETE CASCADE,
    position integer NOT NULL CHECK (position >= 0),
    content  bytea NOT NULL,
    PRIMARY KEY (file_id, position)
);

-- Written in the transaction of each batch of things, so it says exactly which lines of the source have been dealt with.
CREATE TABLE penstock.imports (
    id          uuid PRIMARY KEY,
    environment text NOT NULL,
    data_type   text NOT NULL,
    run_id      uuid,
    source      text NOT NULL,
    lines       bigint NOT NULL DEFAULT 0 CHECK (lines >= 0),
    created     bigint NOT NULL DEFAULT 0 CHECK (created >= 0),
    updated     bigint NOT NULL DEFAULT 0 CHECK (updated >= 0),
    failed      bigint NOT NULL DEFAULT 0 CHECK (failed >= 0),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN penstock.imports.id IS 'of a step: derived from its run and path; of the command line: drawn, and kept in the report';
COMMENT ON COLUMN penstock.imports.source IS 'what is imported: the id of a file, the digest of a text, or the path of a local file';
COMMENT ON COLUMN penstock.imports.lines IS 'what starts in one of so many lines of the source is dealt with: imported, or found bad';
CREATE INDEX imports_age ON penstock.imports (updated_at);

CREATE TABLE penstock.import_lines (
    import_id uuid NOT NULL REFERENCES penstock.imports ON DELETE CASCADE,
    line      bigint NOT NULL,
    message   text NOT NULL,
    PRIMARY KEY (import_id, line)
);
COMMENT ON TABLE penstock.import_lines IS 'lines that could not be imported; one that is imported later is removed here in the same transaction';
