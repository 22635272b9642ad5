"""Reads from a service's URL who the service is to a server."""

from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from penstock.db.roles import Login
from penstock.errors import ConfigurationError

_MIN_PASSWORD = 16


class BrokerUser(NamedTuple):
    """A user of the broker, and the virtual host that it works in."""

    name: str
    password: str
    vhost: str


def read_database_login(url: str, variable: str) -> Login:
    """User and password of a PostgreSQL URL. Raises ConfigurationError, naming the variable."""
    return Login(*_read_credentials(urlsplit(url), variable))


def read_amqp_login(url: str, variable: str) -> BrokerUser:
    """User, password and virtual host of an AMQP URL. Raises ConfigurationError, naming the variable."""
    parts = urlsplit(url)
    name, password = _read_credentials(parts, variable)
    return BrokerUser(name, password, unquote(parts.path.removeprefix("/")) or "/")


def _read_credentials(parts: SplitResult, variable: str) -> tuple[str, str]:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not user:
        raise ConfigurationError(f"{variable} names no user; write it as {parts.scheme}://user:password@host")
    if len(password) < _MIN_PASSWORD:
        raise ConfigurationError(
            f"the password in {variable} has less than {_MIN_PASSWORD} characters; `openssl rand -hex 32` makes one"
        )
    return user, password
