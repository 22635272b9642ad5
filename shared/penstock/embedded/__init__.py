"""Penstock without servers to install: a PostgreSQL of its own, and the three services in one process."""
