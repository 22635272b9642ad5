"""Takes mappings apart: each key is asked for with the type it must have, and what was never asked for is unknown."""

from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import TypeVar

from penstock.domain.durations import parse_duration
from penstock.reading.available import UNAVAILABLE, refuse_unavailable
from penstock.reading.documents import Mapping, Node, Scalar, Sequence, describe
from penstock.reading.places import Place, Report

Choice = TypeVar("Choice", bound=StrEnum)


class Table:
    """A mapping being read. `what` names it in messages (`a workflow`). Close it when all known keys were asked for."""

    def __init__(self, node: Node | None, place: Place, what: str, report: Report) -> None:
        self.place = place
        self.what = what
        self.report = report
        self._entries: dict[str, tuple[Scalar, Node]] = {}
        self._known: set[str] = set()
        self._is_mapping = (
            node is None or isinstance(node, Mapping) or (isinstance(node, Scalar) and node.value is None)
        )
        if isinstance(node, Mapping):
            self._entries = node.entries
        elif node is not None and not self._is_mapping:
            report.error(node.place, f"{what} is written as keys and values, not as {describe(node)}")

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
        if self._is_mapping:
            self.report.error(self.key_place(key), f"{self.what} needs {key!r}", f"such as {example}")
        return False

    def table(self, key: str, what: str) -> "Table":
        """The mapping under a key; an empty one if it is missing."""
        return Table(self.node(key), self.key_place(key), what, self.report)

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
        self.expected(node, key, "true or false")
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
            self.report.unknown(node.place, key, node.text, choices)
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
        self.report.error(node.place, f"{key!r} is a list of {what}, not {describe(node)}")
        return ()

    def entries(self) -> Iterator[tuple[Scalar, Node]]:
        """All keys and values, where the keys are the author's own."""
        self._known.update(self._entries)
        yield from self._entries.values()

    def expected(self, node: Node, key: str, expected: str) -> None:
        """Reports that the value of a key is something else than expected."""
        found = f"{node.text!r}" if isinstance(node, Scalar) and len(node.text) < 40 else describe(node)
        self.report.error(node.place, f"{key!r}: expected {expected}, got {found}")

    def close(self) -> None:
        """Reports the keys nobody asked for."""
        for key, (scalar, _) in self._entries.items():
            if key in self._known:
                continue
            if key not in UNAVAILABLE["key"] or not refuse_unavailable(self.report, scalar.place, "key", key):
                self.report.unknown(
                    scalar.place, "key", key, self._known, "" if self._known else f"{self.what} takes no keys"
                )


def read_text(node: Node, what: str, report: Report) -> str | None:
    """The text of a scalar; numbers and booleans have to be quoted to be text."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value
    hint = "put it in quotes" if isinstance(node, Scalar) and node.value is not None else ""
    report.error(node.place, f"{what}: expected text, got {describe(node)}", hint)
    return None
