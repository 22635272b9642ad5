"""Ctrl-C ends a command quietly, whenever it comes: with one word, and never with a traceback.

While the command is imported, and once it is done, the process ends at once. In between Ctrl-C is Python's
KeyboardInterrupt, so that what is open is closed, or is handled by the command itself: services drain.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import Final, NoReturn, TypeVar

INTERRUPTED: Final = 130
"""The exit code of a program that was ended by Ctrl-C, as shells have it: 128 and the signal's number."""
_STOPPED: Final = b"stopped\n"
T = TypeVar("T")


def stop_at_once() -> None:
    """Let Ctrl-C end the process where it is."""
    _handle_by(_stop)


def interruptible(callback: Callable[..., T]) -> Callable[..., T]:
    """A command that Ctrl-C interrupts where it is: what is open is closed, then the process ends."""

    @wraps(callback)
    def call(*arguments: object, **given: object) -> T:
        try:
            _handle_by(signal.default_int_handler)
            return callback(*arguments, **given)
        except KeyboardInterrupt:
            sys.stdout.flush()
            _stop()
        except Exception as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # a question was open, or closing has failed
                _stop()
            raise
        finally:
            stop_at_once()

    return call


def _handle_by(handler: Callable[[int, FrameType | None], object]) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # so a shell starts what is to run in the background
        signal.signal(signal.SIGINT, handler)


def _stop(_: int = 0, __: FrameType | None = None) -> NoReturn:
    # Not by an exception: within an import it may become another one, or be printed and forgotten.
    os.write(2, _STOPPED)
    os._exit(INTERRUPTED)
