-- Until they are replaced, schedulers of the release before read all runs that are scheduled.
DROP INDEX penstock.runs_crowd_due;
ALTER INDEX penstock.runs_crowd_due_next RENAME TO runs_crowd_due;
DROP INDEX penstock.runs_due;
ALTER INDEX penstock.runs_due_next RENAME TO runs_due;
