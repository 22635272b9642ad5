"""The one door: `admit` is the only code that creates runs, for ingress (roots), executor (children that are due now)
and scheduler (all else), on a batch at once.

In the caller's transaction it binds idempotency keys, derives chain and depth from the stored parent, consults the
chain's fence, the depth limit and the chain's size limit, and inserts; a request that was admitted before changes
nothing. `door` has the order of these steps, `rows` the statement that places, judges and inserts, `chains` what is
counted and noted on the chain.

*Guarantees.* A run id, and an idempotency key while it lives, make at most one run, however often and wherever the
request is repeated. A run beyond a limit is stored as `terminated`, never silently dropped. Admissions into one chain
take turns on the chain's row, so a stop that committed is seen by every later admission, and one that has not yet
committed waits for those under way.

*What dies when.* Before the commit: nothing happened, the request is repeated. After it: the row is its own outbox; a
scheduler finds runs that are due and not dispatched. Dispatching twice is harmless, because claiming is exclusive.

*Depth.* The SQL function `penstock.judge_depth` decides for admission, claim and termination alike;
`penstock.domain.depth` is its twin in Python, and a test holds the two together.

*Plans.* Rows are looked up one by one (LATERAL with OFFSET 0, scalar subselects) where joins would read better: a plan
that was made while the tables were small is kept, and would read them whole for every batch from then on.
"""

from penstock.runs.admission.door import admit, admit_deliveries

__all__ = ["admit", "admit_deliveries"]
