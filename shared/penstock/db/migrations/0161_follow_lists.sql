-- What starts when a list has ended: once, however often the list is opened again.
ALTER TABLE penstock.lists
    ADD COLUMN follower       jsonb,
    ADD COLUMN follower_state text CHECK (follower_state IN ('waiting', 'due', 'started', 'refused'));
COMMENT ON COLUMN penstock.lists.follower IS 'the workflow to start when all items have ended, and what its parameters are made of';
CREATE INDEX lists_followed ON penstock.lists (finished_at) WHERE follower_state = 'due';
