"""Steps that read and change things."""

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Literal, Unpack

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.definitions.values import is_thing_id
from penstock.errors import Permanent
from penstock.sdk.arguments import checked
from penstock.sdk.engine import StepOptions
from penstock.sdk.steps import Steps, to_nothing, to_number
from penstock.sdk.values import Page, Thing, to_json, to_object

Where = Mapping[str, object] | Sequence[Mapping[str, object]]
"""A mapping of fields to the values they equal, or a list of `{key, constraint_type, value}`; all of them hold."""


class DataSteps(Steps):
    """`create`, `get`, `find`, `update`, … as they are in YAML. Each change is committed together with the record of
    its step.
    """

    @checked
    def create(
        self,
        type: str,
        values: Mapping[str, object] | None = None,
        *,
        upsert: Sequence[str] = (),
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, Thing]:
        """A new thing; with `upsert`, the fields of a unique group, the one that has these values already is changed
        instead.
        """
        arguments: dict[str, JsonValue] = {"set": to_object(values, f"create {type}"), "upsert": list(upsert) or None}
        return self._ask(StepAction.CREATE, type, arguments, lambda result: _thing(result, type), options)

    @checked
    def create_many(
        self, type: str, items: Iterable[Mapping[str, object]], **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, list[str]]:
        """A new thing for each item, which holds its fields; all of them or none. The ids, in order."""
        arguments: dict[str, JsonValue] = {"from": to_json(list(items), f"create_many {type}")}
        return self._ask(
            StepAction.CREATE_MANY,
            type,
            arguments,
            _texts,
            options,
            lambda item, _: item if isinstance(item, dict) else {},
        )

    @checked
    def get(
        self, type: str, id: str | Thing | None = None, *, where: Where | None = None, **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, Thing | None]:
        """The thing with that id, or the oldest that meets `where`; None when there is none."""
        arguments: dict[str, JsonValue] = {"where": to_json(where, f"get {type}")}
        if where is None:
            arguments = {"id": _id(id)}
        return self._ask(StepAction.GET, type, arguments, lambda result: _thing_or_none(result, type), options)

    @checked
    def find(
        self,
        type: str,
        where: Where | None = None,
        *,
        sort: str | None = None,
        descending: bool = False,
        limit: int = 100,
        after: str | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, Page]:
        """A page of the things that meet `where`, at most `limit`; `after` is that of the page before."""
        arguments: dict[str, JsonValue] = {
            "where": to_json(where, f"find {type}"), "sort": sort, "descending": descending, "limit": limit,
            "after": after,
        }  # fmt: skip
        return self._ask(StepAction.FIND, type, arguments, lambda result: _page(result, type), options)

    @checked
    def count(
        self, type: str, where: Where | None = None, **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, int]:
        """How many things meet `where`."""
        return self._ask(StepAction.COUNT, type, {"where": to_json(where, f"count {type}")}, to_number, options)

    @checked
    def aggregate(
        self,
        type: str,
        where: Where | None = None,
        *,
        by: Sequence[str] = (),
        sum: Sequence[str] = (),
        min: Sequence[str] = (),
        max: Sequence[str] = (),
        avg: Sequence[str] = (),
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, list[dict[str, JsonValue]]]:
        """A row `{<fields of by>, count, sum_<field>, …}` for each group; without `by` one row."""
        fields: dict[str, Sequence[str]] = {"by": by, "sum": sum, "min": min, "max": max, "avg": avg}
        arguments: dict[str, JsonValue] = {name: list(given) or None for name, given in fields.items()}
        arguments["where"] = to_json(where, f"aggregate {type}")
        return self._ask(StepAction.AGGREGATE, type, arguments, _rows, options)

    @checked
    def update(
        self,
        thing: str | Thing,
        values: Mapping[str, object] | None = None,
        *,
        type: str | None = None,
        add: Mapping[str, object] | None = None,
        remove: Mapping[str, object] | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, Thing]:
        """Set fields of a thing, add to its lists, remove from them; the thing as it is then. An id needs its
        `type`.
        """
        kind = _type_of(thing, type)
        what = f"update {kind}"
        arguments: dict[str, JsonValue] = {
            "type": kind, "set": to_object(values, what), "add": to_object(add, what), "remove": to_object(remove,
            what),
        }  # fmt: skip
        return self._ask(StepAction.UPDATE, _id(thing), arguments, lambda result: _thing(result, kind), options)

    @checked
    def update_many(
        self, type: str, where: Where, values: Mapping[str, object], **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, int]:
        """Set the same values in all things that meet `where`, in one statement; how many there were. `{}` means all
        things.
        """
        what = f"update_many {type}"
        arguments: dict[str, JsonValue] = {"where": to_json(where, what), "set": to_object(values, what)}
        return self._ask(StepAction.UPDATE_MANY, type, arguments, to_number, options)

    @checked
    def delete(
        self, thing: str | Thing, *, type: str | None = None, **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, None]:
        """Delete a thing; it is not an error when it is gone already. An id needs its `type`."""
        return self._ask(StepAction.DELETE, _id(thing), {"type": _type_of(thing, type)}, to_nothing, options)

    @checked
    def delete_many(self, type: str, where: Where, **options: Unpack[StepOptions]) -> Coroutine[object, object, int]:
        """Delete all things that meet `where`, in one statement; how many there were. `{}` means all things."""
        return self._ask(
            StepAction.DELETE_MANY, type, {"where": to_json(where, f"delete_many {type}")}, to_number, options
        )

    @checked
    def export(
        self,
        type: str,
        where: Where | None = None,
        *,
        format: Literal["csv", "jsonl"] = "csv",
        name: str | None = None,
        raw: bool = False,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, dict[str, JsonValue]]:
        """All things that meet `where` as a file: `{file, name, content_type, size}`, for `import_` and attachments of
        a mail. In CSV, texts that a spreadsheet would run as a formula get an apostrophe before them, unless `raw`.
        """
        arguments: dict[str, JsonValue] = {
            "where": to_json(where, f"export {type}"),
            "format": format,
            "name": name,
            "raw": raw or None,
        }
        return self._ask(StepAction.EXPORT, type, arguments, _object, options)

    @checked
    def import_(
        self,
        type: str,
        file: Mapping[str, object] | str,
        *,
        format: Literal["csv", "jsonl"] | None = None,
        upsert: str | Sequence[str] | None = None,
        raw: bool = False,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, dict[str, JsonValue]]:
        """Things from the lines of a file, streamed: `{created, updated, failed, bad_lines}`. Bad lines keep no other
        out. In CSV, the apostrophe with which an export guards a text is taken away, unless `raw`.
        """
        what = f"import {type}"
        arguments: dict[str, JsonValue] = {
            "from": to_json(file, what),
            "format": format,
            "upsert": to_json(upsert, what),
            "raw": raw or None,
        }
        return self._ask(StepAction.IMPORT, type, arguments, _object, options)


def _id(thing: str | Thing | None) -> str | None:
    if isinstance(thing, str) and not is_thing_id(thing):
        raise Permanent(
            f"{thing[:60]!r} is not the id of a thing, such as 1700000000000x123456789012345678", kind="arguments"
        )
    return thing.id if isinstance(thing, Thing) else thing


def _type_of(thing: str | Thing, given: str | None) -> str | None:
    return given or (thing.type if isinstance(thing, Thing) else None)


def _thing(result: JsonValue, type: str | None) -> Thing:
    return Thing(result if isinstance(result, dict) else {}, type)


def _thing_or_none(result: JsonValue, type: str) -> Thing | None:
    return Thing(result, type) if isinstance(result, dict) else None


def _page(result: JsonValue, type: str) -> Page:
    page = result if isinstance(result, dict) else {}
    found, after, remaining = page.get("results"), page.get("after"), page.get("remaining")
    things = [_thing(one, type) for one in found] if isinstance(found, list) else []
    return Page(things, after if isinstance(after, str) else None, remaining if isinstance(remaining, int) else 0)


def _object(result: JsonValue) -> dict[str, JsonValue]:
    return result if isinstance(result, dict) else {}


def _texts(result: JsonValue) -> list[str]:
    return [str(one) for one in result] if isinstance(result, list) else []


def _rows(result: JsonValue) -> list[dict[str, JsonValue]]:
    return [row for row in result if isinstance(row, dict)] if isinstance(result, list) else []
