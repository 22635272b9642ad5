-- A wait that may be ended by a link: what its form asks for. The link itself is stored nowhere: it is signed with the installation's key.
ALTER TABLE penstock.waits ADD COLUMN form jsonb;
COMMENT ON COLUMN penstock.waits.form IS 'the fields that somebody with the link fills in; null: there is no link';
