-- An operation on a list goes through its items by their numbers, each once: what else waits or has failed is not read.
ALTER TABLE penstock.operations ADD COLUMN position integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN penstock.operations.position IS 'of an operation on a list: the item that is looked at next';
