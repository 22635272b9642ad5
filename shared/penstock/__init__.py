"""Penstock: backend workflows that remember every step and can never run away.

What services share and what app authors and internal services import. Services never import each other; this package
never imports a service. The names below are what workflows in Python are written with.
"""

from penstock.errors import Permanent, Transient
from penstock.sdk.app import App
from penstock.sdk.context import Context
from penstock.sdk.triggers import api, change, recurrence, retries, run_event, webhook
from penstock.sdk.values import Page, Response, Thing

__all__ = [
    "App",
    "Context",
    "Page",
    "Permanent",
    "Response",
    "Thing",
    "Transient",
    "api",
    "change",
    "recurrence",
    "retries",
    "run_event",
    "webhook",
]
