"""Takes mappings apart: each key is asked for with the type it must have, and what was never asked for is unknown."""

from collections.abc import Callable, Collection, Iterator
from enum import StrEnum
from typing import TypeVar

from penstock.domain.durations import parse_duration
from penstock.reading.available import UNAVAILABLE, refuse_unavailable
from penstock.reading.documents import Mapping, Node, Scalar, Sequence, describe
from penstock.reading.habits import hint_for_choice, hint_for_key
from penstock.reading.places import Place, Report

Choice = TypeVar("Choice", bound=StrEnum)


def _nowhere_else(_key: str) -> str:
    return ""


class Table:
    """A mapping being read. `what` names it in messages (`a workflow`), `hint` says how to write one. Close it when all
    known keys were asked for.
    """

    def __init__(self, node: Node | None, place: Place, what: str, report: Report, hint: str = "") -> None:
        self.place = place
        self.what = what
        self.report = report
        self._entries: dict[str, tuple[Scalar, Node]] = {}
        self._known: set[str] = set()
        self.is_mapping = node is None or isinstance(node, Mapping) or (isinstance(node, Scalar) and node.value is None)
        if isinstance(node, Mapping):
            self._entries = node.entries
        elif node is not None and not self.is_mapping:
            report.error(
                node.place, f"{what} is written as keys and values, not as {describe(node)}", hint or _colon(node)
            )

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    @property
    def written(self) -> list[str]:
        """All keys, in the order they are written."""
        return list(self._entries)

    def key_place(self, key: str) -> Place:
        """Where the key itself stands; the mapping's place if it is not there."""
        return self._entries[key][0].place if key in self._entries else self.place

    def node(self, key: str) -> Node | None:
        """The value of a key, None if it is missing or left empty."""
        self._known.add(key)
        node = self._entries[key][1] if key in self._entries else None
        return None if isinstance(node, Scalar) and node.value is None else node

    def require(self, key: str, example: str) -> bool:
        """Whether the key has a value; it is a problem if not."""
        if self.node(key) is not None:
            return True
        other = next((one for one in self._entries if hint_for_key(one, {key}) and key not in self._entries), None)
        if self.is_mapping:
            place = self.key_place(key if other is None else other)
            hint = f"such as {example}" if other is None else f"write {key}: in place of {other}:"
            self.report.error(place, f"{self.what} needs {key!r}", hint)
            self._known |= {one for one in self._entries if one == other}
        return False

    def has_other_word_for(self, *keys: str) -> bool:
        """Whether an unknown key is what another tool calls one of `keys`; it is reported when the table is closed."""
        return any(hint_for_key(word, keys) for word in self._entries if word not in self._known)

    def peek(self, key: str) -> str:
        """The text under a key, as it is written, without asking for it; empty if it is not a single value."""
        node = self._entries[key][1] if key in self._entries else None
        return node.text if isinstance(node, Scalar) else ""

    def table(self, key: str, what: str, hint: str = "") -> "Table":
        """The mapping under a key; an empty one if it is missing."""
        return Table(self.node(key), self.key_place(key), what, self.report, hint)

    def text(self, key: str, default: str | None = None) -> str | None:
        """The text under a key."""
        node = self.node(key)
        return default if node is None else read_text(node, f"{key!r}", self.report)

    def boolean(self, key: str, *, default: bool = False) -> bool:
        """The boolean under a key."""
        node = self.node(key)
        if node is None:
            return default
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        word = node.text.lower() if isinstance(node, Scalar) else ""
        meant = "true" if word in {"yes", "on", "true"} else "false" if word in {"no", "off", "false"} else ""
        self.expected(node, key, "true or false", f"write {meant}, without quotes" if meant else "")
        return default

    def number(self, key: str, low: float, high: float) -> float | None:
        """The number from `low` to `high` under a key."""
        node = self.node(key)
        value = node.value if isinstance(node, Scalar) else None
        if node is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.expected(node, key, f"a number from {low:g} to {high:g}")
            return None
        return value

    def integer(self, key: str, low: int, high: int) -> int | None:
        """The whole number from `low` to `high` under a key."""
        node = self.node(key)
        value = node.value if isinstance(node, Scalar) else None
        if node is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.expected(node, key, f"a whole number from {low} to {high}")
            return None
        return value

    def seconds(self, key: str, *, is_zero_allowed: bool = True) -> float | None:
        """The duration (`5m`) under a key, in seconds."""
        node = self.node(key)
        if node is None:
            return None
        try:
            seconds = parse_duration(node.text if isinstance(node, Scalar) else describe(node)).total_seconds()
        except ValueError as error:
            self.report.error(node.place, f"{key!r}: {error}")
            return None
        if seconds == 0 and not is_zero_allowed:
            self.expected(node, key, "a duration above 0")
            return None
        return seconds

    def choice(self, key: str, choices: type[Choice], default: Choice) -> Choice:
        """The member of a closed set under a key."""
        picked = self.one_of(key, [choice.value for choice in choices])
        return default if picked is None else choices(picked)

    def one_of(self, key: str, choices: Collection[str]) -> str | None:
        """One of several words under a key."""
        node = self.node(key)
        if node is None:
            return None
        if isinstance(node, Scalar) and node.text in choices:
            return node.text
        if isinstance(node, Scalar):
            self.report.unknown(node.place, key, node.text, choices, hint_for_choice(node.text, choices))
        else:
            self.expected(node, key, f"one of {', '.join(choices)}")
        return None

    def texts(self, key: str) -> list[tuple[str, Place]]:
        """The list of texts under a key (a single text counts as a list of one), with their places."""
        node = self.node(key)
        nodes = node.items if isinstance(node, Sequence) else () if node is None else (node,)
        read = [(read_text(item, f"an entry of {key!r}", self.report), item.place) for item in nodes]
        return [(text, place) for text, place in read if text is not None]

    def nodes(self, key: str, what: str) -> tuple[Node, ...]:
        """The list under a key, as nodes."""
        node = self.node(key)
        if node is None or isinstance(node, Sequence):
            return () if node is None else node.items
        hint = "begin each with a dash" if isinstance(node, Mapping) else ""
        if isinstance(node, Scalar) and what.startswith("fields"):
            hint = f"write [{node.text}]"
        self.report.error(node.place, f"{key!r} is a list of {what}, not {describe(node)}", hint)
        return ()

    def entries(self) -> Iterator[tuple[Scalar, Node]]:
        """All keys and values, where the keys are the author's own."""
        self._known.update(self._entries)
        yield from self._entries.values()

    def expected(self, node: Node, key: str, expected: str, hint: str = "") -> None:
        """Reports that the value of a key is something else than expected."""
        found = f"{node.text!r}" if isinstance(node, Scalar) and len(node.text) < 40 else describe(node)
        if "number" in expected and isinstance(node, Scalar) and isinstance(node.value, str) and node.text.isdecimal():
            hint = "write it without quotes"
        self.report.error(node.place, f"{key!r}: expected {expected}, got {found}", hint)

    def close(self, explain: Callable[[str], str] = _nowhere_else) -> None:
        """Reports the keys nobody asked for; `explain` gives a hint for a key that belongs elsewhere."""
        for key, (scalar, _) in self._entries.items():
            if key in self._known:
                continue
            if key not in UNAVAILABLE["key"] or not refuse_unavailable(self.report, scalar.place, "key", key):
                hint = self._indentation(key) or hint_for_key(key, self._known) or explain(key)
                hint = hint or ("" if self._known else f"{self.what} takes no keys")
                self.report.unknown(scalar.place, "key", key, self._known, hint)

    def _indentation(self, key: str) -> str:
        """Whether a key may be meant to stand below the one before it, which has no value."""
        keys = list(self._entries)
        above = keys[keys.index(key) - 1] if keys.index(key) else ""
        is_empty = above in self._known and isinstance(node := self._entries[above][1], Scalar) and node.value is None
        return f"indent it, so that it stands below {above}:" if is_empty else ""


def _colon(node: Node) -> str:
    is_slip = isinstance(node, Scalar) and ":" in node.text and ": " not in node.text and "/" not in node.text
    return "put a space after the colon" if is_slip else ""


def read_text(node: Node, what: str, report: Report) -> str | None:
    """The text of a scalar; numbers and booleans have to be quoted to be text."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value
    hint = "put it in quotes" if isinstance(node, Scalar) and node.value is not None else ""
    report.error(node.place, f"{what}: expected text, got {describe(node)}", hint)
    return None
