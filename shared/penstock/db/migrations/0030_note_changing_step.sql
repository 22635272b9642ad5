-- A step that changes one row several times (an import whose lines meet the same thing) is one firing of what waits for the change, so a
-- change says which step made it, where that can happen. Steps that change a row once leave it out.

ALTER TABLE penstock.changes ADD COLUMN step text DEFAULT nullif(current_setting('penstock.step', true), '');
COMMENT ON COLUMN penstock.changes.step IS 'of a step that may change a row more than once; null: every change is a firing of its own';
