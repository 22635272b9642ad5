-- Until they are replaced, schedulers of the release before look for what is due without an index.
DROP INDEX penstock.runs_due;
ALTER INDEX penstock.runs_due_soon RENAME TO runs_due;
DROP INDEX penstock.runs_scheduled;
ALTER INDEX penstock.runs_later RENAME TO runs_scheduled;
DROP INDEX penstock.runs_crowd_due;
ALTER INDEX penstock.runs_crowd_due_soon RENAME TO runs_crowd_due;
DROP INDEX penstock.runs_failed;
ALTER INDEX penstock.runs_gone_wrong RENAME TO runs_failed;
DROP INDEX penstock.runs_queued;
DROP INDEX penstock.runs_running;
DROP INDEX penstock.runs_crowd_queued;
