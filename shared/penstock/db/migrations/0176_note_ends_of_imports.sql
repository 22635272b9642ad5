-- An import that is over says so, and why it ended early: whoever looks at its progress cannot tell from the counts.
-- The previous release leaves both null, as in imports of before.
ALTER TABLE penstock.imports
    ADD COLUMN finished_at timestamptz,
    ADD COLUMN error       text;
CREATE INDEX imports_newest ON penstock.imports (environment, created_at, id);
