-- Items of a list that were given up before they became runs: the list is finished without them.
ALTER TABLE penstock.lists ADD COLUMN given_up integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN penstock.lists.given_up IS 'items that were cancelled before they became runs';
UPDATE penstock.lists l
SET given_up = greatest(l.total - (SELECT count(*) FROM penstock.runs r WHERE r.list_id = l.id), 0)
WHERE l.state = 'expanded';
