"""Under which routing keys an app may publish messages of its own: all but those of our own events."""

import re
from typing import Final

OWN_EVENTS: Final = frozenset({"run", "chain", "list", "workload"})
"""First words, after the environment, of our own events' routing keys."""
MAX_ROUTING_KEY: Final = 200
_ROUTING_KEY: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")


def find_routing_key_problem(key: str) -> str | None:
    """Why an app cannot publish under `key`, which has no environment in front; None when it can."""
    if not _ROUTING_KEY.fullmatch(key):
        return "it has to be words of A-Z a-z 0-9 _ - with dots between them, such as order.paid"
    if len(key) > MAX_ROUTING_KEY:
        return f"it may have {MAX_ROUTING_KEY} characters"
    first = key.partition(".")[0]
    return f"keys that begin with {first} are those of Penstock's own events" if first in OWN_EVENTS else None
