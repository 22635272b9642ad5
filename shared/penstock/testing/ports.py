"""Free ports of this machine, for services and servers under test."""

import atexit
import random
import socket
import time
from collections import deque
from typing import Final

from penstock.errors import ConfigurationError

HOST: Final = "127.0.0.1"
_PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections, which could take a port before we listen on it."""
_MAX_TRIES: Final = 1000
_HELD_SECONDS: Final = 30.0
"""How long a port is kept from other test processes: until the one who asked for it listens, on a busy machine too."""

_chance: Final = random.SystemRandom()
"""Not the module's own generator, which property tests set back to the same start in each process."""
_held: Final[deque[tuple[float, socket.socket]]] = deque()


def find_ports(count: int) -> list[int]:
    """`count` different ports that nothing listens on, and that no other test process was given a moment ago.

    Raises ConfigurationError when there are not as many.
    """
    _release_old()
    found: list[int] = []
    for port in _chance.sample(_PORTS, _MAX_TRIES):
        if len(found) == count:
            return found
        if _is_free(port) and _hold(port):
            found.append(port)
    raise ConfigurationError(f"fewer than {count} ports from {_PORTS.start} to {_PORTS.stop} are free on {HOST}")


def find_port() -> int:
    """A port that nothing listens on. Raises ConfigurationError as `find_ports` does."""
    return find_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _hold(port: int) -> bool:
    """Whether no other process holds the port. The claim is a socket with a name, which ends with its process."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0penstock-port-{port}")
    except OSError:
        claim.close()
        return False
    _held.append((time.monotonic(), claim))
    return True


def _release_old(seconds: float = _HELD_SECONDS) -> None:
    while _held and _held[0][0] <= time.monotonic() - seconds:
        _held.popleft()[1].close()


atexit.register(_release_old, 0.0)
