-- Changes of types whose fields have the names that these functions use themselves. `to_jsonb(n)` took the field `n`, where a type has
-- one, for the row: `n.*` is always the row. A field named `tg_argv` or `tg_table_schema` was ambiguous: the variable is meant.

CREATE OR REPLACE FUNCTION penstock.note_created() RETURNS trigger LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    IF EXISTS (SELECT FROM new_rows) THEN
        INSERT INTO penstock.changes (environment, type, operation, run_id, after)
        SELECT TG_TABLE_SCHEMA, TG_ARGV[0], 'create', penstock.changing_run(), to_jsonb(n.*) FROM new_rows n;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION penstock.note_updated() RETURNS trigger LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    IF EXISTS (SELECT FROM new_rows) THEN
        INSERT INTO penstock.changes (environment, type, operation, run_id, before, after)
        SELECT TG_TABLE_SCHEMA, TG_ARGV[0], 'update', penstock.changing_run(), to_jsonb(o.*), to_jsonb(n.*)
        FROM old_rows o JOIN new_rows n ON n."_id" = o."_id";
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION penstock.note_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    IF EXISTS (SELECT FROM old_rows) THEN
        INSERT INTO penstock.changes (environment, type, operation, run_id, before)
        SELECT TG_TABLE_SCHEMA, TG_ARGV[0], 'delete', penstock.changing_run(), to_jsonb(o.*) FROM old_rows o;
    END IF;
    RETURN NULL;
END $$;
