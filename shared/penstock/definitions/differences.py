"""What differs between two versions of an app: its definitions by kind and name, and which parts of each.

It goes by the form of `App`: every mapping of named definitions in it is a kind, everything else is a setting.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

from pydantic import JsonValue

from penstock.definitions.models import App

Sign = Literal["add", "change", "remove"]
_KINDS: Final = {"types": "data type", "options": "option set"}
_PLACE: Final = "place"


class Difference(NamedTuple):
    """A definition that is new, changed or removed. `parts` are the keys that differ in a changed one."""

    sign: Sign
    kind: str
    name: str
    parts: tuple[str, ...] = ()


def find_differences(before: App | None, after: App) -> list[Difference]:
    """All differences, by kind and name. Where in its file a definition stands does not count."""
    old, new = ({} if app is None else app.model_dump(mode="json") for app in (before, after))
    found: list[Difference] = []
    for key in type(after).model_fields:
        given_before, given = old.get(key), new[key]
        if key == "environments" and not given_before:
            continue  # there are always the same two
        if _is_named(given) and _is_named(given_before or {}):
            found += _compare(_KINDS.get(key, key.removesuffix("s")), given_before or {}, given)
        elif given != given_before and before is not None:
            found.append(Difference("change", "setting", key))
    return found


def is_same_definition(before: JsonValue, after: JsonValue) -> bool:
    """Whether two stored definitions say the same, wherever in its file each stands."""
    return _without_places(before) == _without_places(after)


class ChangedValue(NamedTuple):
    """What differs at one place of a definition, such as `steps.thing.set.name`. Null stands for what is not there."""

    path: str
    before: JsonValue
    after: JsonValue


def list_changed_values(before: JsonValue, after: JsonValue) -> list[ChangedValue]:
    """What differs between two stored definitions, place by place, in order. Steps are compared by their ids."""
    return list(_walk("", _without_places(before), _without_places(after)))


def _walk(path: str, before: JsonValue, after: JsonValue) -> Iterator[ChangedValue]:
    if before == after:
        return
    old, new = _members(before), _members(after)
    if old is None or new is None:
        yield ChangedValue(path, before, after)
        return
    for key in dict.fromkeys((*old, *new)):
        yield from _walk(f"{path}.{key}" if path else key, old.get(key), new.get(key))
    if list(old) != list(new) and old.keys() == new.keys():
        yield ChangedValue(f"{path} (order)", list(old), list(new))


def _members(value: JsonValue) -> Mapping[str, JsonValue] | None:
    """The parts of a value that can be compared one by one: keys of a mapping, and items that have ids or names."""
    if isinstance(value, dict):
        return dict(sorted(value.items()))
    if isinstance(value, list) and value:
        named = {
            str(item.get("id") or item.get("name")): item
            for item in value
            if isinstance(item, dict) and (item.get("id") or item.get("name"))
        }
        return named if len(named) == len(value) else None
    return None


def _is_named(value: JsonValue) -> bool:
    """Whether this is a mapping of names to definitions."""
    return isinstance(value, dict) and all(isinstance(item, dict) for item in value.values())


def _compare(kind: str, before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> Iterator[Difference]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield Difference("add", kind, name)
        elif name not in after:
            yield Difference("remove", kind, name)
        elif parts := _differing(_without_places(before[name]), _without_places(after[name])):
            yield Difference("change", kind, name, parts)


def _differing(before: JsonValue, after: JsonValue) -> tuple[str, ...]:
    if not isinstance(before, dict) or not isinstance(after, dict):
        return () if before == after else ("value",)
    return tuple(key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key))


def _without_places(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items() if key != _PLACE}
    return value
