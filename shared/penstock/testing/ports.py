"""Free ports of this machine, for services and servers under test."""

import random
import socket
from typing import Final

from penstock.errors import ConfigurationError

HOST: Final = "127.0.0.1"
_PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections, which could take a port before we listen on it."""
_MAX_TRIES: Final = 1000


def find_ports(count: int) -> list[int]:
    """`count` different ports that nothing listens on. Raises ConfigurationError when there are not as many."""
    found: list[int] = []
    for port in random.sample(_PORTS, _MAX_TRIES):
        if len(found) == count:
            return found
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        found.append(port)
    raise ConfigurationError(f"fewer than {count} ports from {_PORTS.start} to {_PORTS.stop} are free on {HOST}")


def find_port() -> int:
    """A port that nothing listens on. Raises ConfigurationError as `find_ports` does."""
    return find_ports(1)[0]
