"""The services as this installation knows them: by entry point, because the library never imports a service."""

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, get_type_hints

from penstock.errors import ConfigurationError
from penstock.runtime import Serve
from penstock.settings import CommonSettings

GROUP: Final = "penstock.services"
SERVICES: Final = ("scheduler", "executor", "ingress")
"""In the order in which they start: what accepts work comes last."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is installed here: its `serve` function, and the settings that it takes."""

    name: str
    serve: Serve[CommonSettings]
    settings: type[CommonSettings]


def find_service(name: str) -> Service:
    """The installed service. Raises ConfigurationError when there is none of that name, or it is not a service."""
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise ConfigurationError(
            f"the {name} is not installed here (no entry point {name!r} in {GROUP!r}); install penstock again"
        )
    try:
        serve = found.load()
    except ImportError as error:
        raise ConfigurationError(f"the {name} cannot be loaded from {found.value}: {error}") from error
    # The first parameter of `serve` says which settings the service takes.
    settings = get_type_hints(serve).get("settings")
    if not (isinstance(settings, type) and issubclass(settings, CommonSettings)):
        raise ConfigurationError(
            f"{found.value} is not a service: its first parameter must be `settings`, of a class of settings"
        )
    return Service(name, serve, settings)
