"""Says why a value has no such member or method, and what the author may have meant."""

from collections.abc import Mapping
from typing import Final

from penstock.expressions.functions import METHODS
from penstock.expressions.kinds import Kind
from penstock.expressions.tokens import did_you_mean

_LENGTHS: Final = frozenset({"length", "len", "size", "count", "Count", "Length"})


def explain_member(kind: Kind, name: str, written: str) -> tuple[str, str]:
    """Why `written`, of this kind, has no member `name`, and a hint."""
    if kind.word == "object" and kind.members is not None:
        return _explain_object(kind, kind.members, name, written)
    if kind.of and kind.word == "text":
        if name == "_id":
            return f"{written} is the id of a thing already", f"write {written}"
        return (
            f"reading {name!r} through {written}, which is {kind}, is not possible here",
            f'add a step `get: {kind.of}` with `id: "${{{written}}}"`, and read steps.<its id>.{name}',
        )
    if kind.options and kind.word == "text":
        what = f"reading {name!r} of {written}, which is {kind}, is not possible here"
        return what, "read it in a step, or compare the option itself"
    reason = f"{written} is {kind}, which has no member {name!r}"
    if name in _LENGTHS and (kind.word == "list" or kind.is_text):
        return reason, f"write len({written})"
    if kind.word == "list":
        return reason, _hint_for_list(kind, name, written)
    if kind.word in {"date", "moment"} and name in METHODS:
        return reason, f"write {_as_moment(kind, written)}.{name}()"
    return reason, ""


def explain_method(kind: Kind, name: str, written: str) -> tuple[str, str]:
    """Why `written`, of this kind, has no method `name`, and a hint."""
    hint = f"write d({written}).{name}(…)" if kind.is_text else ""
    return f"{written} is {kind}, and only what d(…) gives has methods", hint


def _explain_object(kind: Kind, members: Mapping[str, Kind], name: str, written: str) -> tuple[str, str]:
    what = f"{kind.of!r} has no field {name!r}" if kind.of else f"{written} has no member {name!r}"
    if kind.options:
        what = f"the option set {kind.options!r} has no attribute {name!r}"
    same = next((known for known in members if _plain(known) == _plain(name)), None)
    if same is not None and not same.isidentifier():
        return what, f"write {written}[{same!r}]"
    near = did_you_mean(name, members).removeprefix("; ")
    return what, near or f"there are {', '.join(sorted(members)) or 'none'}"


def _hint_for_list(kind: Kind, name: str, written: str) -> str:
    if name in {"first", "head"}:
        return f"write {written}[0]"
    if name in {"last", "tail"}:
        return f"write {written}[len({written}) - 1]"
    if name.isdecimal():
        return f"write {written}[{name}]"
    members = kind.item.members if kind.item is not None else None
    if members is None or name in members:
        return f"write {written}[0].{name} for the first, map({written}, #.{name}) for all"
    return ""


def _as_moment(kind: Kind, written: str) -> str:
    return written if kind.word == "moment" else f"d({written})"


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
