"""The ingress: accepts what comes from outside, answers, and requests runs.

Owns: the deliveries of webhooks, and the answers to those who call API workflows, the Data API and the management API.
Consumes: `run.answer.v1` from a reply queue of its own. Publishes: `run.execute.v1` for the root runs it has admitted,
and the events
`run.{scheduled,terminated}` and `chain.warned`. Must never: perform a step, decide when a run is due, or answer for a
request that has not been committed.
"""
