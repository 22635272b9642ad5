"""Ends the process at once on Ctrl-C and SIGTERM. Imports next to nothing, so that there is hardly a moment before it
is in force: `typing` alone takes most of the time until then.
"""

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130
"""The exit code of a program that was ended by Ctrl-C, as shells have it: 128 and the signal's number."""
TERMINATED = 143
"""The same for SIGTERM."""
_STOPPED = b"stopped\n"


def stop_at_once() -> None:
    """Let Ctrl-C and SIGTERM end the process where it is, until somebody else handles them."""
    handle_by(stop)
    # Without a handler, the first process of a container does not even notice SIGTERM: a service that has to leave
    # while it starts would begin to work, and be killed at it.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        try:
            signal.signal(signal.SIGTERM, _terminate)
        except ValueError:
            return


def handle_by(handler: "Callable[[int, FrameType | None], object]") -> None:
    """Let Ctrl-C call `handler`, unless it is ignored, or the program is called in a thread, where it never arrives."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what is to run in the background
        return
    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:
        return


def stop(_: int = 0, __: "FrameType | None" = None) -> "NoReturn":
    """End the process with one word on standard error."""
    # Not by an exception: within an import it may become another one, or be printed and forgotten.
    os.write(2, _STOPPED)
    os._exit(INTERRUPTED)


def _terminate(_: int, __: "FrameType | None") -> "NoReturn":
    """As SIGTERM does by default: without a word."""
    os._exit(TERMINATED)
