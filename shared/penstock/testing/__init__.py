"""A kit for testing apps: run one against a throw-away PostgreSQL, move its time, and look at what its workflows did."""
