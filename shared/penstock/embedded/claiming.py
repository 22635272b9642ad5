"""What `penstock up` needs before anything is started: two ports and a data directory. Where it cannot have them, the
error names the option that chooses others.
"""

import errno
import socket
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from penstock.embedded.presence import find_presence
from penstock.errors import ConfigurationError

_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})


class Places(NamedTuple):
    """Hosts and ports to listen on."""

    host: str
    port: int
    admin_host: str
    admin_port: int


def check_ports(places: Places) -> None:
    """Raises ConfigurationError when one of the ports cannot be listened on."""
    hosts = {places.host, places.admin_host}
    if places.port == places.admin_port and (len(hosts) == 1 or hosts & _EVERYWHERE):
        raise ConfigurationError(f"--port and --admin-port are both {places.port}; choose two")
    _check_port(places.host, places.port, "--port", "PENSTOCK_HOST")
    _check_port(places.admin_host, places.admin_port, "--admin-port", "PENSTOCK_ADMIN_HOST")


def hold_directory(data: Path) -> None:
    """Make the directory if there is none. Raises ConfigurationError when it cannot be written."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {data}: {error.strerror}; choose another directory with --data (or PENSTOCK_DATA)"
        ) from None


def check_alone(data: Path) -> None:
    """Raises ConfigurationError when a `penstock up` serves this directory."""
    running = find_presence(data)
    if running is not None:
        raise ConfigurationError(
            f"Penstock serves {data} already, at {running.admin_url}/; stop that one, or give this one another "
            "directory with --data and other ports with --port and --admin-port"
        )


def _check_port(host: str, port: int, option: str, variable: str) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server will, so that connections closing do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            advice = f"stop what uses it, or choose another with {option}"
        elif error.errno in (errno.EACCES, errno.EPERM):
            advice = f"choose one above 1023 with {option}"
        else:
            advice = f"set {variable} to an address of this machine"
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; {advice}") from None
