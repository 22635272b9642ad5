-- Lists are shown newest first, a page at a time.
CREATE INDEX lists_created ON penstock.lists (environment, created_at DESC, id DESC);
