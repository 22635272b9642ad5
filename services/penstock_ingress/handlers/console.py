"""What the console has to know before anybody is logged in."""

from importlib.metadata import version

from pydantic import JsonValue

from penstock.definitions.models import ENVIRONMENTS
from penstock_ingress.room import Room


def describe_console(room: Room) -> dict[str, JsonValue]:
    """The version, the environments, and the ways to log in beside an admin token."""
    oidc = room.settings.console_oidc
    return {
        "version": version("penstock"),
        "environments": list(ENVIRONMENTS),
        "oidc": None if oidc is None else {"name": oidc.name},
    }
