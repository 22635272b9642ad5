"""The properties of a delivered message, read from their bytes (AMQP 0-9-1, 2.3.5.2 and 4.2.5).

The driver's own reader raises for a value that it cannot decode, outside its exception class, and the connection falls
with everything that was prefetched. This one never raises: it reads what can be read, says what cannot, and takes time
and memory in proportion to the number of bytes.
"""

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Final, NamedTuple

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SECONDS: Final = 0xFFFFFFFF
"""Timestamps count seconds; one beyond the year 2106 is taken for milliseconds, as the driver does."""
_MAX_DEPTH: Final = 50
_MAX_PROBLEMS: Final = 5
_NAMES: Final = (
    ("content_type", "short"), ("content_encoding", "short"), ("headers", "table"), ("delivery_mode", "octet"),
    ("priority", "octet"), ("correlation_id", "short"), ("reply_to", "short"), ("expiration", "short"),
    ("message_id", "short"), ("timestamp", "time"), ("type", "short"), ("user_id", "short"), ("app_id", "short"),
    ("cluster_id", "short"),
)  # fmt: skip
"""In the order of their flags, from the highest bit down."""


class Properties(NamedTuple):
    """What could be read, by name, and why the rest could not; None when all of it could."""

    values: Mapping[str, object]
    headers: Mapping[str, object]
    problem: str | None = None


class _Broken(Exception):
    """The rest of a table, or of the properties, cannot be found: its place depends on what cannot be read."""


def read_properties(raw: bytes) -> Properties:
    """The property flags and values of a content header. Never raises."""
    reader = _Reader(raw)
    try:
        reader.read_all()
    except _Broken as error:
        reader.report(str(error))
    problem = "; ".join(reader.problems[:_MAX_PROBLEMS]) or None
    headers = reader.values.get("headers")
    return Properties(reader.values, headers if isinstance(headers, dict) else _NO_HEADERS, problem)


_NO_HEADERS: Final[Mapping[str, object]] = MappingProxyType({})


class _Reader:
    """Reads on from `at`; nothing before it is copied."""

    def __init__(self, raw: bytes) -> None:
        self.values: dict[str, object] = {}
        self.problems: list[str] = []
        self._raw = raw
        self._at = 0
        self._place = "properties"

    def report(self, problem: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(f"{self._place}: {problem}")

    def read_all(self) -> None:
        flags = word = self._number(2)
        while word & 1:
            word = self._number(2)
            if word & ~1:
                raise _Broken("there are more of them than AMQP 0-9-1 knows")
        for index, (name, kind) in enumerate(_NAMES):
            if flags & 0x8000 >> index:
                self._place = f"property {name}"
                self.values[name] = self._property(kind)
        self._place = "properties"

    def _property(self, kind: str) -> object:
        match kind:
            case "short":
                return self._text(self._bytes(self._number(1)))
            case "octet":
                return self._number(1)
            case "time":
                return self._time()
            case _:
                return self._headers()

    def _headers(self) -> dict[str, object]:
        end = self._end()
        headers: dict[str, object] = {}
        try:
            self._fill(headers, end, 1)
        except _Broken as error:
            self.report(str(error))
            self._at = end  # the properties behind the table can be read all the same
        return headers

    def _fill(self, table: dict[str, object], end: int, depth: int) -> None:
        place = self._place
        while self._at < end:
            name = self._text(self._bytes(self._number(1), end))
            if depth == 1:
                self._place = f"header {_show(name)}"
            value = self._value(end, depth)
            if name is not None:
                table[name] = value
            self._place = place
        self._place = place

    def _value(self, end: int, depth: int) -> object:
        tag = self._bytes(1, end)
        fixed = _FIXED.get(tag)
        if fixed is not None:
            size, decode = fixed
            return decode(self._bytes(size, end))
        match tag:
            case b"S":
                return _long_text(self._bytes(self._number(4, end), end))
            case b"x":
                return self._bytes(self._number(4, end), end)
            case b"T":
                return self._time(end)
            case b"F" | b"A":
                return self._nested(tag, end, depth + 1)
            case _:
                raise _Broken(f"a value of the unknown type {tag!r}")

    def _nested(self, tag: bytes, end: int, depth: int) -> object:
        if depth > _MAX_DEPTH:
            raise _Broken(f"tables within tables, more than {_MAX_DEPTH} levels deep")
        inner = self._end(end)
        if tag == b"F":
            table: dict[str, object] = {}
            self._fill(table, inner, depth)
            return table
        items: list[object] = []
        while self._at < inner:
            items.append(self._value(inner, depth))
        return items

    def _time(self, end: int | None = None) -> datetime | None:
        stamp = self._number(8, end)
        try:
            return _EPOCH + timedelta(seconds=stamp if stamp <= _MAX_SECONDS else stamp / 1000)
        except OverflowError:
            self.report(f"the timestamp {stamp} is beyond the year 9999; AMQP counts seconds since 1970")
            return None

    def _text(self, raw: bytes) -> str | None:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.report(f"{_show(raw)} is not UTF-8 text")
            return None

    def _end(self, end: int | None = None) -> int:
        """Where the table or array ends that begins here with its length."""
        length = self._number(4, end)
        if self._at + length > (len(self._raw) if end is None else end):
            raise _Broken("a table or array that is longer than what it is part of")
        return self._at + length

    def _number(self, size: int, end: int | None = None) -> int:
        return int.from_bytes(self._bytes(size, end), "big")

    def _bytes(self, size: int, end: int | None = None) -> bytes:
        begin, self._at = self._at, self._at + size
        if self._at > (len(self._raw) if end is None else end):
            raise _Broken("the bytes end in the middle of a value")
        return self._raw[begin : self._at]


def _unpack(layout: str) -> Callable[[bytes], object]:
    unpack = struct.Struct(layout).unpack
    return lambda raw: unpack(raw)[0]


def _decimal(raw: bytes) -> Decimal:
    return Decimal(int.from_bytes(raw[1:], "big")).scaleb(-raw[0])


def _long_text(raw: bytes) -> str | bytes:
    """Long strings are bytes by AMQP's definition; those that are text are given as such."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _show(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


_FIXED: Final[Mapping[bytes, tuple[int, Callable[[bytes], object]]]] = {
    b"t": (1, lambda raw: raw != b"\x00"),
    b"b": (1, _unpack(">b")),
    b"B": (1, _unpack(">B")),
    b"s": (2, _unpack(">h")),
    b"u": (2, _unpack(">H")),
    b"I": (4, _unpack(">i")),
    b"i": (4, _unpack(">I")),
    b"l": (8, _unpack(">q")),
    b"L": (8, _unpack(">q")),
    b"f": (4, _unpack(">f")),
    b"d": (8, _unpack(">d")),
    b"D": (5, _decimal),
    b"V": (0, lambda _: None),
    b"\x00": (0, lambda _: None),
}
"""Size and decoder of the values whose size is known from their type, as RabbitMQ reads them."""
