"""The one JSON decoder and encoder for values that pass through: numbers keep the digits they came with.

A number that neither an integer nor a float can hold exactly (more than 15 significant digits with a fraction) becomes
an `ExactNumber`, a float that remembers its text; whole numbers are integers of any size. orjson does the work. Only a
document with a run of 16 digits outside of texts is read a second time, so the usual one costs 0.3 µs more.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Final, Self

import orjson
from pydantic import JsonValue

from penstock.storable import encodable_text, storable_value

JSONDecodeError = orjson.JSONDecodeError
MAX_DIGITS: Final = 308
"""Of a whole number that stays an integer: about as far as a float reaches."""
_MAX_LENGTH: Final = 1000
"""Of a number that is kept to the last digit."""
_MIN_FRACTION: Final = 1e-300
_IS_DIGIT: Final = bytes(48 if chr(code) in "0123456789." else 32 for code in range(256))
_LONG_RUN: Final = b"0" * 16
_SAMPLED_RUN: Final = b"0" * 4
_SAMPLE: Final = 4
_BEFORE_NUMBER: Final = b":,[ \t\n\r\f\v"
_ESCAPE: Final = b"\\"
_NUL: Final = b"\\u0000"
_MAX_DEPTH: Final = 255
"""As deep as orjson writes."""
_TOO_DEEP: Final = "a value nested this deeply cannot be written as JSON"


class ExactNumber(float):
    """A JSON number with more digits than a float keeps. It computes as a float, and is written as `text`."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.text,)


def loads(document: bytes | str) -> JsonValue:
    """The value of a JSON document, every number with all its digits.

    Raises JSONDecodeError (a ValueError), also for a number beyond 1.8e308 and for more than 1,024 levels.
    """
    value: JsonValue = orjson.loads(document)
    return _load_exactly(document) if has_long_number(document) else value


def loads_stored(document: bytes) -> JsonValue:
    """What `loads` gives, for a document that PostgreSQL holds: there, numbers beyond 1.8e308 can occur."""
    try:
        return loads(document)
    except JSONDecodeError as error:
        if "infinity" not in error.msg:
            raise
        return _load_exactly(document)


def dumps(value: object, *, option: int = 0, default: Callable[[object], object] | None = None) -> bytes:
    """`value` as JSON, all digits of its numbers included; U+FFFD stands for half of a surrogate pair.

    `option` is orjson's; `default` gives a stand-in for what JSON does not know. Raises TypeError for what cannot be
    encoded.
    """

    write = _write if default is None else partial(_write, default=default)
    try:
        return orjson.dumps(value, write, option)
    except TypeError:
        try:
            return orjson.dumps(_encodable(value, _MAX_DEPTH), write, option)
        except RecursionError:
            raise TypeError(_TOO_DEEP) from None


def dumps_storable(value: object) -> bytes:
    """`value` as JSON that PostgreSQL takes for jsonb: U+FFFD stands for NUL too. Raises TypeError."""
    document = dumps(value)
    # One byte is found thirty times as fast as six, and few documents have it.
    has_nul = _ESCAPE in document and _NUL in document
    return dumps(storable_value(value)) if has_nul else document


def _write(value: object, default: Callable[[object], object] | None = None) -> object:
    if isinstance(value, ExactNumber):
        return orjson.Fragment(value.text)
    if default is None:
        raise TypeError(f"a value of the type {type(value).__name__} cannot be written as JSON")
    return default(value)


def has_long_number(document: bytes | str) -> bool:
    """Whether a number in `document` may have 16 digits or more. It errs only on the safe side."""
    raw = document.encode(errors="replace") if isinstance(document, str) else document
    # A run of 16 covers four samples in a row, and most documents have no such four.
    if _SAMPLED_RUN not in raw[_SAMPLE - 1 :: _SAMPLE].translate(_IS_DIGIT):
        return False
    digits = raw.translate(_IS_DIGIT)
    start = digits.find(_LONG_RUN)
    while start >= 0:
        before = start - 1 if raw[start - 1 : start] == b"-" else start
        if before == 0 or raw[before - 1] in _BEFORE_NUMBER:
            return True
        end = digits.find(b" ", start)
        start = digits.find(_LONG_RUN, end) if end >= 0 else -1
    return False


def _load_exactly(document: bytes | str) -> JsonValue:
    try:
        value: JsonValue = json.loads(document, parse_int=_read_integer, parse_float=_read_fraction)
    except RecursionError:
        text = document if isinstance(document, str) else document.decode(errors="replace")
        raise JSONDecodeError("it is nested too deeply", text, 0) from None
    return value


def _read_integer(text: str) -> int | float:
    return int(text) if len(text) <= MAX_DIGITS else ExactNumber(text)


def _read_fraction(text: str) -> float:
    value = float(text)
    # PostgreSQL holds 16,383 digits behind the point, and no JSON number means anything with a tenth of them.
    if len(text) > _MAX_LENGTH or abs(value) < _MIN_FRACTION:
        return value
    is_same = repr(value) == text or Decimal(text) == Decimal(repr(value))
    return value if is_same else ExactNumber(text)


def _encodable(value: object, depth: int) -> object:
    """What orjson refuses in a form that it takes: integers beyond 64 bits, and half surrogates."""
    if depth == 0:
        raise TypeError(_TOO_DEEP)
    if isinstance(value, str):
        return encodable_text(value)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 63:
        if value.bit_length() > 1024:
            raise TypeError("a whole number beyond 1.8e308 cannot be written as JSON")
        return orjson.Fragment(str(int(value)))
    if isinstance(value, list | tuple):
        return [_encodable(item, depth - 1) for item in value]
    if isinstance(value, Mapping):
        return {_encodable(key, depth - 1): _encodable(item, depth - 1) for key, item in value.items()}
    return value
