"""Ctrl-C ends a command quietly, whenever it comes: with one word, and never with a traceback.

While the command is imported, and once it is done, the process ends at once. In between Ctrl-C is Python's
KeyboardInterrupt, so that what is open is closed, or is handled by the command itself: services drain.
"""

import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from penstock.cli.stopping import handle_by, stop, stop_at_once

T = TypeVar("T")


def interruptible(callback: Callable[..., T]) -> Callable[..., T]:
    """A command that Ctrl-C interrupts where it is: what is open is closed, then the process ends."""

    @wraps(callback)
    def call(*arguments: object, **given: object) -> T:
        try:
            handle_by(signal.default_int_handler)
            return callback(*arguments, **given)
        except KeyboardInterrupt:
            sys.stdout.flush()
            stop()
        except Exception as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # a question was open, or closing has failed
                stop()
            raise
        finally:
            stop_at_once()

    return call
