-- Lists over a search: a scheduler finds the things chunk by chunk, so that nobody holds all of them.
CREATE TABLE penstock.list_searches (
    list_id    uuid PRIMARY KEY REFERENCES penstock.lists ON DELETE CASCADE,
    definition jsonb NOT NULL,
    after      text,
    next_index integer NOT NULL DEFAULT 0 CHECK (next_index >= 0),
    looked_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE penstock.list_searches IS 'searches of lists that have not come to their end; the row goes when one has';
COMMENT ON COLUMN penstock.list_searches.after IS 'behind which thing the next chunk begins; null: at the first';
COMMENT ON COLUMN penstock.list_searches.next_index IS 'items that have been found so far';
CREATE INDEX list_searches_turn ON penstock.list_searches (looked_at);

ALTER TABLE penstock.lists ADD COLUMN passed_over integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN penstock.lists.passed_over IS 'things that were counted when the list began, and were gone when their turn came';
