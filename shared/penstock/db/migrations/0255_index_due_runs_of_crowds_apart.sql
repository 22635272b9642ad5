-- migrate: no-transaction
-- What asks for the runs of crowds also fits `runs_scheduled`. As long as both indexes are believed to be small, which they are whenever few
-- runs are scheduled at an analysis, PostgreSQL takes that one, and reads all runs that are scheduled where it would find the first of a crowd.
-- A condition of another form, which only this index has, leaves it no choice.
CREATE INDEX CONCURRENTLY runs_crowd_due_next ON penstock.runs (crowd, scheduled_at)
WHERE (indexed_state || '') = 'scheduled' AND parked_at IS NULL AND crowd IS NOT NULL
