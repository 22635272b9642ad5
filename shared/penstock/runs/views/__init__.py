"""What people and programs see of runs, their steps, their chains and the log: one read model for the management API,
the command line and the test kit.

`models` says what is shown; beside it stands the SQL, one module per thing. Lists come in pages: at most `limit`
results behind the place `after`, and the place behind which the next page begins.
"""
