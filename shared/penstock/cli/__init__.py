"""The command line, one module per noun. Works on the database itself, so it needs no service to be running."""

import os
import sys
from importlib import import_module

from penstock.cli.stopping import stop_at_once


def main() -> None:
    """Run the command that the process was started with."""
    stop_at_once()  # before anything else is imported, which takes a second
    front = import_module("penstock.cli.front")
    if front.is_front(sys.argv[1:], os.environ):
        front.run_front()
    else:
        import_module("penstock.cli.program").main()


__all__ = ["main"]
