"""The executor: performs runs and reports what happened.

Owns: the lease of every run it has claimed, the records of that run's steps, and its outcome.
Consumes: `run.execute.v1` from the executors' queue. Publishes: `run.execute.v1` for children, `runs.schedule.v1`,
`list.expand.v1` and `scheduler.wake.v1` to the schedulers, `run.answer.v1` to the ingress that waits, and the events
`run.{scheduled,started,succeeded,failed,skipped,terminated}`. Must never: create a run other than a child that is due
at once, with the step that schedules it; decide when a run is due; or write anything of a run without naming the
attempt it holds.
"""
