-- The answer to a bulk request has a line for each thing, so it is kept as it was. The previous release knows no key for
-- such a request, and leaves it null.
ALTER TABLE penstock.thing_keys ADD COLUMN body bytea;
