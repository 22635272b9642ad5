"""A discrete-event model of an installation: what one machine does, and how a cluster answers a burst.

`python -m tests.bench.simulation.measuring` measures what a run costs here and how fast one machine is, and keeps both
in measured.json. The model (`machine`) computes the same rates from the costs alone; a test holds it to within 15 % of
what was measured. `python -m tests.bench.simulation.cluster` then asks it what no single machine can show: bursts of a
million webhooks, on 3 to 300 executors that are scaled as deploy/ says.
"""
