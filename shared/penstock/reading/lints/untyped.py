"""Finds workflows that take only certain types of webhooks from a source whose webhooks have no type."""

from collections.abc import Iterator
from typing import NamedTuple

from penstock.definitions.models import App
from penstock.webhooks.sources import find_types


class Untyped(NamedTuple):
    """A workflow at `place` (`file:line`), and the source whose webhooks have no type."""

    workflow: str
    source: str
    place: str


def find_untyped(app: App) -> Iterator[Untyped]:
    """All such workflows, in YAML and in Python."""
    for workflow in app.workflows.values():
        for trigger in workflow.webhooks:
            source = app.sources.get(trigger.source)
            if source is not None and "*" not in trigger.types and not find_types(source):
                yield Untyped(workflow.name, source.name, workflow.place)
