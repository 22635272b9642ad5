"""Penstock: backend workflows that remember every step and can never run away.

What services share and what app authors and internal services import. Services never import each other; this package
never imports a service. The names below are what workflows in Python are written with, and what other programs start
them with. Each is imported when it is asked for: all of them take a second, and most of the commands need none.
"""

from importlib import import_module

TYPE_CHECKING = False  # not from typing: until that is imported, Ctrl-C would be answered by a traceback
if TYPE_CHECKING:
    from penstock.client import Client, verify_webhook
    from penstock.errors import Permanent, Transient
    from penstock.sdk.app import App
    from penstock.sdk.context import Context
    from penstock.sdk.signature import Password
    from penstock.sdk.triggers import api, change, recurrence, retries, run_event, webhook
    from penstock.sdk.values import Page, Response, Thing

__all__ = [
    "App",
    "Client",
    "Context",
    "Page",
    "Password",
    "Permanent",
    "Response",
    "Thing",
    "Transient",
    "api",
    "change",
    "recurrence",
    "retries",
    "run_event",
    "verify_webhook",
    "webhook",
]
_HOMES = {
    "App": "penstock.sdk.app",
    "Client": "penstock.client",
    "Context": "penstock.sdk.context",
    "Page": "penstock.sdk.values",
    "Password": "penstock.sdk.signature",
    "Permanent": "penstock.errors",
    "Response": "penstock.sdk.values",
    "Thing": "penstock.sdk.values",
    "Transient": "penstock.errors",
    "verify_webhook": "penstock.client",
    **dict.fromkeys(("api", "change", "recurrence", "retries", "run_event", "webhook"), "penstock.sdk.triggers"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
