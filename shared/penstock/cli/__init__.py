"""The command line, one module per noun. Works on the database itself, so it needs no service to be running."""

from penstock.cli.program import main

__all__ = ["main"]
