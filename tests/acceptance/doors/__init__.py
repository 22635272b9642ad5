"""The ways into and out of an installation, each of which the values of `tests.hostile` are sent through."""
