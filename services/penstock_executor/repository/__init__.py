"""The executor's SQL: a run changes hands by a claim and stays by renewals; every other write names its attempt.

Rows with many columns are passed as one JSON document, because the driver checks each element of an array, which costs
more than everything else. Statements that find runs by id write `state || ''`, which keeps the planner from the partial
indexes: it assumes these are small, and would read everything that was queued or running since the last vacuum.
"""
