"""Broker users over RabbitMQ's management API, and what each service may do in its virtual host.

Permissions are three patterns over the names of queues and exchanges: what may be made (`configure`), published to or
bound (`write`), and consumed or bound from (`read`); https://www.rabbitmq.com/docs/access-control says which operation
asks for which. Publishing to a queue by its name, as answers do, is writing to `amq.default`.

Schedulers declare exchanges and queues, and mend them when somebody has deleted one. Ingresses and executors make
nothing but their own temporary queues.
"""

import base64
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import aiohttp

from penstock.db.rights import Service
from penstock.errors import BrokerUnavailable, ConfigurationError
from penstock.provisioning.logins import BrokerUser

_SECONDS: Final = 10.0


class Permissions(NamedTuple):
    """Patterns over names, as RabbitMQ writes them."""

    configure: str
    write: str
    read: str


def _temporary(service: Service) -> str:
    return rf"penstock\.{service}\.(reply|events)\.[0-9a-f]{{32}}"


_EXECUTOR_QUEUES: Final = r"penstock\.executor(\.[a-z0-9_-]+)?"
_TOPOLOGY: Final = rf"penstock\.(schedule|execute|events|dead-letters|scheduler)|{_EXECUTOR_QUEUES}"
PERMISSIONS: Final[Mapping[Service, Permissions]] = {
    "ingress": Permissions(
        configure=f"^{_temporary('ingress')}$",
        write=rf"^(penstock\.(schedule|execute|events)|{_temporary('ingress')})$",
        read=f"^{_temporary('ingress')}$",
    ),
    "scheduler": Permissions(
        configure=f"^({_TOPOLOGY}|{_temporary('scheduler')})$",
        write=rf"^({_TOPOLOGY}|amq\.default|{_temporary('scheduler')})$",
        read=f"^({_TOPOLOGY}|{_temporary('scheduler')})$",
    ),
    "executor": Permissions(
        configure=f"^{_temporary('executor')}$",
        write=rf"^(penstock\.(schedule|execute|events|dead-letters)|amq\.default|{_temporary('executor')})$",
        read=rf"^({_EXECUTOR_QUEUES}|penstock\.events|{_temporary('executor')})$",
    ),
}
"""By service."""


async def provision_broker(management_url: str, users: Mapping[Service, BrokerUser]) -> None:
    """Make users, or give those that exist these passwords, and their permissions, which replace all that they had.

    Raises ConfigurationError for what RabbitMQ refuses, BrokerUnavailable when it is out of reach.
    """
    parts = urlsplit(management_url)
    administrator = unquote(parts.username or "")
    credentials = base64.b64encode(f"{administrator}:{unquote(parts.password or '')}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}"}
    base = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(base, headers=headers, timeout=timeout) as http:
        for service, user in users.items():
            if user.name == administrator:
                raise ConfigurationError(f"the {service}'s broker user is {user.name}, the administrator; name another")
            name, vhost = quote(user.name, safe=""), quote(user.vhost, safe="")
            await _put(http, f"/api/users/{name}", {"password": user.password, "tags": ""})
            await _put(http, f"/api/permissions/{vhost}/{name}", PERMISSIONS[service]._asdict())


async def _put(http: aiohttp.ClientSession, path: str, body: Mapping[str, str]) -> None:
    try:
        async with http.put(path, json=body) as response:
            if response.status < 300:
                return
            said = (await response.text(errors="replace"))[:200]
    except (aiohttp.ClientError, TimeoutError) as error:
        raise BrokerUnavailable(
            f"RabbitMQ's management API is out of reach: {type(error).__name__}: {error}"
        ) from error
    raise ConfigurationError(
        f"RabbitMQ answered PUT {path} with {response.status}: {said}; is PENSTOCK_RABBITMQ_MANAGEMENT_URL an "
        "administrator's, and does the virtual host exist?"
    )
