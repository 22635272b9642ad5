"""Keeps the digits of numbers that an expression passes on without computing with them.

zen answers in floats and takes no integer beyond 64 bits. Where that would change a number, the expression is evaluated
with each long number as a marked text instead, and the marks in the answer become the numbers again: picking, filtering
and comparing for equality work the same on texts. An expression that computes with such a number fails on the text, and
keeps the answer that it has as a float.
"""

import re
from typing import Final, Protocol

from pydantic import JsonValue

from penstock.exact_json import ExactNumber
from penstock.expressions.tokens import MAX_EXACT
from penstock.storable import storable_text

_OPEN: Final = "\ue000\u2063"
_CLOSE: Final = "\u2063\ue001"
_MARK: Final = re.compile(f"{_OPEN}([^{_CLOSE}]+){_CLOSE}")
_MIN_LONG: Final = 15
_MAX_ZEN_INTEGER: Final = 2**64


class Program(Protocol):
    """A compiled expression of zen's."""

    def evaluate(self, context: dict[str, JsonValue], /) -> JsonValue:
        """What it comes to with these values. Raises RuntimeError for what zen says about it."""
        ...


def compute(program: Program, source: str, values: dict[str, JsonValue]) -> JsonValue:
    """What zen answers, whole numbers as integers; numbers that only pass through keep their digits. Raises what zen
    raises.
    """
    try:
        answer: JsonValue = program.evaluate(values)
    except (RuntimeError, MemoryError):
        raise
    except Exception:  # zen cannot take a value: an integer beyond 64 bits, or half of a surrogate pair
        exact = _compute_with_marks(program, source, values)
        return _tidy(program.evaluate(_tame_members(values)), []) if exact is None else exact[0]
    doubtful: list[float] = []
    value = _tidy(answer, doubtful)
    exact = _compute_with_marks(program, source, values) if doubtful else None
    return value if exact is None else exact[0]


def _compute_with_marks(program: Program, source: str, values: dict[str, JsonValue]) -> tuple[JsonValue] | None:
    """The exact answer; None when no value holds a long number, or the expression computes with one."""
    marked = {name: _mark(value) for name, value in values.items()}
    if all(marked[name] is value for name, value in values.items()):
        return None
    try:
        answer: JsonValue = program.evaluate(_tame_members(marked))
    except Exception:
        return None
    return (_restore(_tidy(answer, []), as_text="string(" in source),)


def _tidy(value: JsonValue, doubtful: list[float]) -> JsonValue:
    """The value with whole floats as integers. `doubtful` takes those that may have come in with more digits."""
    kind = type(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < MAX_EXACT:
            return int(value)
        if abs(value) >= MAX_EXACT or len(repr(value)) > _MIN_LONG:
            doubtful.append(value)
        return value
    if kind is str or kind is bool:
        return value
    if isinstance(value, list):
        return [_tidy(item, doubtful) for item in value]
    return {key: _tidy(item, doubtful) for key, item in value.items()} if isinstance(value, dict) else value


def _is_long(value: JsonValue) -> bool:
    """Whether `value` is a number that zen would not give back with all its digits."""
    return isinstance(value, ExactNumber) or (type(value) is int and abs(value) > MAX_EXACT)


def _mark(value: JsonValue) -> JsonValue:
    """`value` with a marked text for each long number; the very same object when there is none."""
    if isinstance(value, list):
        items = [_mark(item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    if isinstance(value, dict):
        members = {key: _mark(item) for key, item in value.items()}
        return value if all(members[key] is value[key] for key in members) else members
    return f"{_OPEN}{value}{_CLOSE}" if _is_long(value) else value


def _restore(value: JsonValue, *, as_text: bool) -> JsonValue:
    """A value with marked texts as the numbers they stand for, and marks inside longer texts as digits.

    `as_text` leaves them all digits in texts: the expression makes texts of numbers.
    """
    if isinstance(value, str):
        whole = None if as_text else _MARK.fullmatch(value)
        if whole is None:
            return _MARK.sub(r"\1", value) if _OPEN in value else value
        digits = whole[1]
        return int(digits) if digits.lstrip("-").isdecimal() else ExactNumber(digits)
    if isinstance(value, list):
        return [_restore(item, as_text=as_text) for item in value]
    if isinstance(value, dict):
        return {_MARK.sub(r"\1", key): _restore(item, as_text=as_text) for key, item in value.items()}
    return value


def _tame_members(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """`values` in a form that zen takes: integers beyond 64 bits as floats, texts without half surrogates."""
    return {storable_text(name): _tame(value) for name, value in values.items()}


def _tame(value: JsonValue) -> JsonValue:
    if type(value) is int and abs(value) >= _MAX_ZEN_INTEGER:
        return float(value) if value.bit_length() <= 1023 else value
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, list):
        return [_tame(item) for item in value]
    return _tame_members(value) if isinstance(value, dict) else value
