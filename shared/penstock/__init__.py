"""Penstock: backend workflows that remember every step and can never run away.

What services share and what app authors and internal services import. Services never import each other; this package never
imports a service. The names below are what workflows in Python are written with.
"""

from penstock.definitions.python.app import App
from penstock.definitions.python.context import Context
from penstock.definitions.python.triggers import api, change, recurrence, retries, webhook
from penstock.definitions.python.values import Page, Response, Thing
from penstock.errors import Permanent, Transient

__all__ = ["App", "Context", "Page", "Permanent", "Response", "Thing", "Transient", "api", "change", "recurrence", "retries", "webhook"]
