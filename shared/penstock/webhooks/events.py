"""What the deliveries of a source are about: their types, the id that the provider gives the event, and the workflows
that want them. The same when a delivery arrives and when it is replayed.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from multidict import MultiMapping
from pydantic import JsonValue

from penstock.definitions.models import App, Workflow
from penstock.definitions.sources import Source
from penstock.storable import storable_text
from penstock.webhooks.places import find_value, find_values
from penstock.webhooks.recipes import Where
from penstock.webhooks.sources import find_ids, find_types

MAX_TYPE_LENGTH: Final = 255
_MAX_TYPES: Final = 1000


class Events:
    """Made once per deployment and source."""

    def __init__(self, source: Source, app: App) -> None:
        self._ids, self._types = find_ids(source), find_types(source)
        self._wanted = [
            (_pattern(types), workflow)
            for workflow in app.workflows.values()
            if (types := _types(workflow, source.name))
        ]
        self._by_type: dict[str, tuple[Workflow, ...]] = {}

    def types_of(self, headers: MultiMapping[str], payload: JsonValue) -> tuple[str, ...]:
        """The types of a delivery: one, or several when it holds several events, or none."""
        for where in self._types:
            if found := find_values(where, headers, payload):
                if len(found) == 1:
                    return (storable_text(found[0])[:MAX_TYPE_LENGTH],)
                return tuple(dict.fromkeys(storable_text(kind)[:MAX_TYPE_LENGTH] for kind in found))
        return ()

    def id_of(self, headers: MultiMapping[str], payload: JsonValue) -> str | None:
        """The id that the provider gives the event, or None."""
        for places in self._ids:
            if (found := _join(places, headers, payload)) is not None:
                return storable_text(found)
        return None

    def workflows_for(self, types: Sequence[str]) -> tuple[Workflow, ...]:
        """The workflows that a delivery of these types starts, each once."""
        if len(types) < 2:
            return self._workflows_for_one(types[0] if types else "")
        return tuple({workflow.name: workflow for kind in types for workflow in self._workflows_for_one(kind)}.values())

    def _workflows_for_one(self, kind: str) -> tuple[Workflow, ...]:
        found = self._by_type.get(kind)
        if found is None:
            found = tuple(workflow for pattern, workflow in self._wanted if pattern.fullmatch(kind))
            if len(self._by_type) < _MAX_TYPES:
                self._by_type[kind] = found
        return found


def join_types(types: Sequence[str]) -> str | None:
    """The types as they are stored and as expressions see them: one text, or None."""
    return ",".join(types)[:MAX_TYPE_LENGTH] if types else None


def _types(workflow: Workflow, source: str) -> Sequence[str]:
    return [kind for trigger in workflow.webhooks if trigger.source == source for kind in trigger.types]


def _pattern(types: Iterable[str]) -> re.Pattern[str]:
    """Matches what one of `types` matches, `*` standing for any run of characters."""
    return re.compile("|".join(".*".join(map(re.escape, kind.split("*"))) for kind in types), re.DOTALL)


def _join(places: Sequence[Where], headers: MultiMapping[str], payload: JsonValue) -> str | None:
    """The values of all these places together, if each has one that is not empty."""
    if len(places) == 1:
        return find_value(places[0], headers, payload) or None
    values = [find_value(where, headers, payload) for where in places]
    return "/".join(filter(None, values)) if all(values) else None
