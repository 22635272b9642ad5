"""How the work of an expression grows with its values: bounded when it is compiled, and weighed when it is evaluated.

Going through a list inside going through another multiplies; so does naming a large value inside. `read_shape` counts
these once. `Shape.weigh` multiplies the sizes of the values out, and looks at no more of them than it has to. What
weighs more than MAX_WEIGHT is evaluated where it can be stopped (`bounded`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import prod
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.expressions.tokens import CLOSERS, CLOSURES, MAX_RANGE, Reference, Token, Unreadable

MAX_WEIGHT: Final = 50_000
"""About 20 ms of computing."""
MAX_RANGES: Final = 100_000
"""Items that ranges inside each other may have together."""
_MAX_LINEAR: Final = 20_000
"""Items of a list that is gone through once."""
_SHORT: Final = 60
"""Tokens. A short expression without lists costs little more than handing its values over."""
_TEXT_UNIT: Final = 50
"""Characters that weigh as much as an item of a list."""
_JOINING: Final = frozenset({"[", "{", "`", "+", "merge", "mergeDeep", "flatten"})
_MAX_COPIES: Final = 16
_PATTERNS: Final = frozenset({"matches", "extract"})
_UNKNOWN_PATTERN: Final = 1_000
_REPETITION: Final = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")
_SAFE_FORMAT: Final = re.compile(
    r"""'(?:[^%']|%[-_0]?[YCymdeHIklMSjUWGguVwf]|%[aAbBhpPDFTRrxXcsZz%nt+]|%:z|%\.?[369]?f)*'"""
    r"""|"(?:[^%"]|%[-_0]?[YCymdeHIklMSjUWGguVwf]|%[aAbBhpPDFTRrxXcsZz%nt+]|%:z|%\.?[369]?f)*\""""
)
"""zen panics for others, which writes lines of its own into the log."""
_AFTER_VALUE: Final = frozenset({")", "]", "}"})


class Growth(NamedTuple):
    """`items` of literal ranges × (size of the values) ** `lists` × (size of values named inside) ** `inner`."""

    items: int = 1
    lists: int = 0
    inner: int = 0

    def times(self, other: "Growth") -> "Growth":
        """Both, one inside the other."""
        items = min(self.items * other.items, 10**12)
        return Growth(items, self.lists + other.lists, self.inner + other.inner)

    def beside(self, other: "Growth") -> "Growth":
        """Both, one after the other."""
        return Growth(max(self.items, other.items), max(self.lists, other.lists), max(self.inner, other.inner))


class Shape(NamedTuple):
    """What decides the work of one expression. `inner` are the paths that it names inside of closures."""

    growth: Growth
    inner: tuple[tuple[str, ...], ...]
    tokens: int
    pattern: int
    compares_texts: bool
    formats_freely: bool

    @property
    def is_light(self) -> bool:
        """Whether it never has to be weighed."""
        return (
            self.tokens <= _SHORT
            and self.growth == Growth()
            and not self.pattern
            and not (self.compares_texts or self.formats_freely)
        )

    def weigh(self, values: Mapping[str, JsonValue]) -> int:
        """The work with these values, at most, in items; exact only up to MAX_WEIGHT."""
        if self.formats_freely:
            return MAX_WEIGHT + 1
        growth = self.growth
        is_plain = not (self.pattern or self.compares_texts) and self.tokens <= _SHORT
        if is_plain and growth.items <= _MAX_COPIES and growth.lists <= 1 and not growth.inner:
            longest = max(chain((0,), _list_lengths(values.values())))
            return longest if longest * growth.items <= _MAX_LINEAR else MAX_WEIGHT + 1
        size = max(1, count_size(values.values(), MAX_WEIGHT))
        inner = 1
        if growth.inner:
            inner = max(1, count_size((_walk(values, path) for path in self.inner), MAX_WEIGHT))
        weight: int = growth.items * size**growth.lists * inner**growth.inner
        if self.pattern:
            weight *= self.pattern
        if self.pattern or self.compares_texts:
            characters = count_characters(values.values(), MAX_WEIGHT)
            weight += characters * max(1, self.pattern)
            weight += characters * characters if self.compares_texts else 0
        return weight + (size * self.tokens if self.tokens > _SHORT else 0)


def read_shape(tokens: Sequence[Token], references: Sequence[Reference], *, counts_characters: bool = False) -> Shape:
    """The shape of an expression; `counts_characters` says that it takes texts apart.

    Raises Unreadable for literal ranges inside each other with too many items.
    """
    reader = _ShapeReader(tokens, references)
    growth = reader.measure(0, len(tokens), "")
    if growth.items > MAX_RANGES:
        raise Unreadable(
            f"ranges and lists inside each other multiply: this goes through more than {MAX_RANGES:,} items",
            reader.first_range,
        )
    names = [(token, tokens[index + 1 : index + 2]) for index, token in enumerate(tokens)]
    called = {token.text for token, after in names if after and after[0].text == "("}
    return Shape(
        growth,
        tuple(sorted(reader.inner)),
        len(tokens),
        reader.weigh_patterns() if called & _PATTERNS else int(counts_characters),
        "fuzzyMatch" in called,
        reader.formats_freely(),
    )


def count_size(values: Iterable[JsonValue], most: int) -> int:
    """Items, members and, every 50 characters, text in `values`; it stops counting beyond `most`."""
    size = 0
    waiting: list[JsonValue] = list(values)
    while waiting and size <= most:
        value = waiting.pop()
        if isinstance(value, str):
            size += len(value) // _TEXT_UNIT
        elif isinstance(value, list):
            size += len(value)
            waiting.extend(value[: most + 1])
        elif isinstance(value, dict):
            size += len(value)
            waiting.extend(value.values())
    return size


def count_characters(values: Iterable[JsonValue], most: int) -> int:
    """Characters of all texts in `values`; it stops counting beyond `most`."""
    characters = 0
    waiting: list[JsonValue] = list(values)
    while waiting and characters <= most:
        value = waiting.pop()
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
    return characters


def _list_lengths(values: Iterable[JsonValue]) -> Iterable[int]:
    """Lengths of the lists that are values, or members of values (`steps.found.results`)."""
    for value in values:
        if isinstance(value, list):
            yield len(value)
        elif isinstance(value, dict):
            yield len(value)
            yield from _list_lengths(value.values())


def _walk(scope: Mapping[str, JsonValue], path: Sequence[str]) -> JsonValue:
    value: JsonValue = scope.get(path[0])
    for name in path[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    return value


class _ShapeReader:
    def __init__(self, tokens: Sequence[Token], references: Sequence[Reference]) -> None:
        self.tokens = tokens
        self.paths = {reference.offset: reference.path for reference in references}
        self.inner: set[tuple[str, ...]] = set()
        self.first_range = next((token.offset for token in tokens if token.text == ".."), 0)

    def text(self, index: int) -> str:
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def measure(self, low: int, high: int, outer: str) -> Growth:
        """The growth of the tokens from `low` up to `high`; `outer` says what the closure around them goes through."""
        growth = Growth()
        index = low
        while index < high:
            is_closure = self.text(index) in CLOSURES and self.text(index + 1) == "(" and self.text(index - 1) != "."
            if is_closure:
                close = self.closing(index + 1)
                growth = growth.beside(self.measure_closure(index, close, outer))
                index = close
            elif outer and self.tokens[index].offset in self.paths:
                self.inner.add(self.paths[self.tokens[index].offset])
                growth = growth.beside(Growth(inner=1))
            index += 1
        return growth

    def measure_closure(self, index: int, close: int, outer: str) -> Growth:
        comma = self.comma(index + 1, close)
        first = self.measure(index + 2, comma, outer)
        items = self.range_items(index + 2, comma)
        if items is not None:
            listed, through = Growth(items=items), "range"
        elif self.text(index + 2) == "#" and outer == "path":
            listed, through = first, "part"  # the lists inside a list are together no larger than it
        else:
            listed, through = first.beside(Growth(lists=1)), "path" if first == Growth() else "list"
        return listed.times(self.measure(comma + 1, close, through)).times(Growth(self.copies(comma + 1, close)))

    def copies(self, low: int, high: int) -> int:
        """How often what is made of an item may hold the item: closures inside each other multiply it."""
        texts = [self.text(index) for index in range(low, high)]
        aliases = {self.text(low - 2)} if self.text(low - 3) == "as" else set()
        times = sum(text == "#" or text in aliases for text in texts)
        return max(1, times) if _JOINING.intersection(texts) else 1

    def range_items(self, low: int, high: int) -> int | None:
        """How many items a first argument has that is nothing but a literal range or list."""
        texts = [self.text(index) for index in range(low, high)]
        if len(texts) < 2 or texts[0] not in {"[", "("} or texts[-1] not in _AFTER_VALUE:
            return None
        if ".." in texts and len(texts) <= 7:
            return min(MAX_RANGE * 2 + 1, self.width(texts))
        is_flat = not any(text in CLOSERS for text in texts[1:]) and not any(
            self.tokens[index].kind == "name" for index in range(low, high)
        )
        return texts.count(",") + 1 if texts[0] == "[" and is_flat else None

    def width(self, texts: list[str]) -> int:
        middle = texts.index("..")
        try:
            begin, end = ("".join(part).replace("_", "") for part in (texts[1:middle], texts[middle + 1 : -1]))
            return int(abs(float(end) - float(begin))) + 1
        except ValueError:
            return MAX_RANGE * 2 + 1

    def closing(self, opener: int) -> int:
        depth = 0
        for index in range(opener, len(self.tokens)):
            depth += self.text(index) in CLOSERS
            depth -= self.text(index) in _AFTER_VALUE
            if depth == 0:
                return index
        return len(self.tokens) - 1

    def comma(self, opener: int, close: int) -> int:
        """The comma between the list and what is done with each item; the closing bracket when there is none."""
        depth = 0
        for index in range(opener + 1, close):
            depth += self.text(index) in CLOSERS
            depth -= self.text(index) in _AFTER_VALUE
            if depth == 0 and self.text(index) == ",":
                return index
        return close

    def weigh_patterns(self) -> int:
        """What a regular expression multiplies the length of a text by, at most."""
        heaviest = 1
        for index, token in enumerate(self.tokens):
            if token.text in _PATTERNS and self.text(index + 1) == "(":
                close = self.closing(index + 1)
                comma = self.comma(index + 1, close)
                pattern = self.tokens[comma + 1] if close == comma + 2 else token
                if pattern.kind != "text":
                    return _UNKNOWN_PATTERN
                counts = [int(high or low) for low, high in _REPETITION.findall(pattern.text)]
                heaviest = max(heaviest, min(prod(max(1, count) for count in counts), 10**6))
        return heaviest

    def formats_freely(self) -> bool:
        """Whether a date is written in a form that is known only when it is evaluated."""
        return any(
            self.text(index) == "."
            and self.text(index + 1) == "format"
            and self.text(index + 2) == "("
            and not (self.text(index + 4) == ")" and _SAFE_FORMAT.fullmatch(self.text(index + 3)))
            for index in range(len(self.tokens) - 3)
        )
