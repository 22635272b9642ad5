"""What a path of the public port leads to."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from aiohttp import web

from penstock_ingress.room import Room
from penstock_ingress.rules.replies import Reply


class Place(NamedTuple):
    """Where a request went: the environment, the prefix as it was written, and the segments of the path that vary."""

    environment: str
    prefix: str
    arguments: tuple[str, ...]


Endpoint = Callable[[Room, web.BaseRequest, Place], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of path. `name` is its label in the metrics; `is_shared` says that web pages of other origins may call
    it.
    """

    name: str
    methods: tuple[str, ...]
    endpoint: Endpoint
    is_shared: bool = False
