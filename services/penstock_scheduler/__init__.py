"""The scheduler: decides when. Any number of them share the work; there is no leader.

Owns: due times, recurrences, what changes of things start, the expansion of lists, runs whose dispatch was lost or
whose executor died, mail to the admins, the upkeep of tables. Consumes: `run.schedule.v1` (of internal services too),
`runs.schedule.v1`, `list.expand.v1` and `scheduler.wake.v1`. Publishes: `run.execute.v1`, answers to internal services,
and the events `run.{scheduled,terminated,failed}`, `chain.warned` and
`list.finished`. Must never: perform a step, or create a run other than by `admit`.
"""
