-- Files that came with calls of API workflows are passed on as URLs, which people put into things and mails: they can be fetched by everyone
-- who knows the id, and are kept until they are deleted. The files of steps stay what they are: for a week, and not for strangers.
ALTER TABLE penstock.files ADD COLUMN is_public boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN penstock.files.is_public IS 'whether the public port serves it to everyone who knows its id';
