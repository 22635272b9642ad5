"""Compiles and evaluates expressions with zen-engine, and hides its edges.

zen computes in decimals and answers in floats: whole numbers are turned back into integers. It copies the whole context
on every call (0.7 ms for a list of a thousand things), so it is given only the members an expression names: `params.n -
1` costs the same whatever else is in `params`, and a number too large for a decimal disturbs only who reads it. An
expression that is nothing but a member path, which most are, is answered without zen: 0.4 µs instead of 4. What stays
as zen has it: `len` of a text counts UTF-8 bytes, dates are written in whole seconds, division by zero is null, objects
come back with their keys in any order, and computing with integers above 2^53 loses digits (passing them on does not:
`digits`).
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import zen
from pydantic import JsonValue

from penstock.expressions.digits import Program, compute
from penstock.expressions.lookups import THINGS
from penstock.expressions.shape import MAX_WEIGHT, Shape, read_shape
from penstock.expressions.spelling import LENGTH, counts_characters, replace_lengths, spell
from penstock.expressions.tokens import MAX_EXACT, ExpressionError, Reading, Reference, Unreadable, read_names

_PATH: Final = re.compile(r"\s*[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\s*", re.ASCII)
_NOT_A_PATH: Final = frozenset({"true", "false", "null", "not", "and", "or", "in"})
ANSWERS: Final = "\x00answers"
"""In a scope: what was computed apart, by the key of its TooMuchWork. No name has a NUL."""
_INVALID_DATE: Final = "Invalid date"
_SIGNS: Final = {
    "Add": "+",
    "Subtract": "-",
    "Multiply": "*",
    "Divide": "/",
    "Modulo": "%",
    "Exponent": "^",
    "Negate": "-",
    "Compare": "comparing with < > <= >=",
    "Not": "not",
    "JumpIfFalse": "a condition (`and`, `? :`)",
    "JumpIfTrue": "a condition (`or`)",
    "In": "in",
    "Fetch": "[…]",
    "Slice": "[a:b]",
    "Interval": "..",
    "Begin": "going through a list",
    "Join": "a `…${}…` text",
}

_HINTS: Final = {
    "Compare": "only numbers and dates have an order: write d(a) < d(b) for times",
    "Add": "write string(…) to put a number into a text",
    "In": "write contains(a, b) to look for a text in a text",
    "JumpIfFalse": "compare with something to get true or false",
    "JumpIfTrue": "compare with something to get true or false",
    "Not": "compare with something to get true or false",
}
_TYPE_NAMES: Final[Mapping[type, str]] = {
    str: "text",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "list",
    dict: "object",
    type(None): "null",
}

Evaluate = Callable[[Mapping[str, JsonValue]], JsonValue]
_Wanted = dict[str, "_Wanted"]
"""The members an expression reads; an empty dict means the whole value."""


class Expression:
    """A compiled expression. `roots` are the names it reads from the scope, `references` the members of them, with
    places.

    `secrets` are the names of the secrets it reads. `shown` is the author's text where `source` was made of it.
    """

    __slots__ = (
        "_measured", "_path", "_program", "_shape", "_uses_dates", "_wanted", "place", "references", "roots", "secrets",
        "shown", "source", "spelled",
    )  # fmt: skip

    def __init__(self, source: str, place: str, reading: Reading, spelled: str, shown: str) -> None:
        references = reading.references
        self.source = source
        self.shown = shown
        self.place = place
        # What was looked up is neither a name in scope nor part of the work: it is read by key.
        seen = tuple(reference for reference in references if reference.path[0] != THINGS)
        self.references = seen
        self.roots = frozenset(reference.path[0] for reference in seen)
        self.secrets = frozenset(
            reference.path[1] for reference in references if reference.path[0] == "secrets" and reference.path[1:]
        )
        self._uses_dates = reading.uses_dates
        self._wanted = _merge(references)
        self.spelled = spelled
        shape = read_shape(reading.tokens, seen, counts_characters=counts_characters(spelled, source))
        self._shape = None if shape.is_light else shape
        self._program = zen.compile_expression(spelled)
        self._measured = _measure_beforehand(source, reading)
        self._path = _bare_path(source, references)

    def _compute(self, scope: Mapping[str, JsonValue]) -> JsonValue:
        """What zen answers, or what was computed apart. Raises TooMuchWork when that is still to be done."""
        measured = self._measured
        values = None if measured is None else measured.take(scope)
        if measured is not None and values is not None:
            program, shape = measured.program, measured.shape
        else:
            program, shape, values = self._program, self._shape, _pick(scope, self._wanted)
        if shape is None or shape.weigh(values) <= MAX_WEIGHT:
            return compute(program, self.source, values)
        work = TooMuchWork(self, _pick(scope, self._wanted))
        answers = scope.get(ANSWERS)
        if isinstance(answers, dict) and work.key in answers:
            return answers[work.key]
        raise work

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def evaluate(self, scope: Mapping[str, JsonValue]) -> JsonValue:
        """The value in this scope. Raises ExpressionError, which names the types of the values but never the values."""
        if self._path is not None:
            return tidy(_walk(scope, self._path))
        try:
            value = self._compute(scope)
        except (KeyboardInterrupt, SystemExit, ExpressionError):
            raise
        except BaseException as error:  # a panic inside zen is not an Exception
            raise self.explain(error, scope) from None
        if self._uses_dates and _holds_invalid_date(value):
            raise self.error("d(…) was given something that is not a date", scope)
        return value

    def compile(self) -> Evaluate:
        """`evaluate`, without asking each time whether the expression is only a path."""
        return self.evaluate if self._path is None else _compile_path(self._path)

    def holds(self, scope: Mapping[str, JsonValue]) -> bool:
        """Whether a condition is met: true, or not met: false or null. Raises ExpressionError for any other value."""
        return self.judge(self.evaluate(scope), scope)

    def judge(self, value: JsonValue, scope: Mapping[str, JsonValue]) -> bool:
        """Whether `value`, what a condition came to, means that it is met. Raises ExpressionError."""
        if value is None or isinstance(value, bool):
            return value is True
        raise self.error(f"a condition has to be true or false, and this is {describe_type(value)}", scope)

    def explain(self, error: BaseException, scope: Mapping[str, JsonValue]) -> ExpressionError:
        """What zen, or the driver of a worker, says about this expression as an error for the author."""
        if not isinstance(error, Exception):
            return self.error(f"it cannot be computed ({error})", scope)
        if not isinstance(error, RuntimeError):
            return self.error(
                "it reads a value that expressions cannot hold (numbers end at 7.9e28, texts are Unicode)", scope
            )
        reason = _zen_message(error)
        opcode, _, detail = reason.removeprefix("Opcode ").partition(": ")
        if opcode in {"CallFunction", "CallMethod"}:
            return self.error(detail.replace("`", "'"), scope)
        sign = _SIGNS.get(opcode, opcode)
        if detail == "Unsupported type":
            return self.error(
                f"{sign} does not take values of these types", scope, _HINTS.get(opcode, ""), is_typed=True
            )
        if "usize" in detail:
            return self.error("an index is a whole number from 0 on", scope)
        return self.error(f"{sign}: {detail[:1].lower()}{detail[1:]}", scope)

    def error(
        self, reason: str, scope: Mapping[str, JsonValue], hint: str = "", *, is_typed: bool = False
    ) -> ExpressionError:
        """An error that names the expression, its place, and the types of the values it reads."""
        found = {".".join(reference.path): describe_type(_walk(scope, reference.path)) for reference in self.references}
        types = ", ".join(f"{path} is {name}" for path, name in found.items())
        if is_typed and "null" in found.values():
            hint = "write ?? to stand in for null, as in (a ?? 0)"
        return ExpressionError(self.place, self.shown, "; ".join(part for part in (reason, types, hint) if part))


@dataclass(frozen=True, slots=True)
class _Measured:
    """An expression in which each `len(…)` of a member is a number that Python puts in: it knows lengths uncounted."""

    program: Program
    wanted: _Wanted
    paths: tuple[tuple[str, ...], ...]
    shape: Shape | None

    def take(self, scope: Mapping[str, JsonValue]) -> dict[str, JsonValue] | None:
        """What the program reads; None when a length is of neither text nor list, and zen is to say so."""
        values = _pick(scope, self.wanted)
        for number, path in enumerate(self.paths):
            value = _walk(scope, path)
            if not isinstance(value, str | list):
                return None
            values[f"{LENGTH}{number}"] = len(value)
        return values


def _measure_beforehand(source: str, reading: Reading) -> _Measured | None:
    replaced, lengths = replace_lengths(source, reading.tokens, reading.references)
    if not lengths:
        return None
    left = tuple(reference for reference in reading.references if reference not in lengths)
    again = read_names(replaced, None)
    spelled = spell(replaced, again.tokens)
    counts = counts_characters(spelled, replaced)
    seen = tuple(reference for reference in again.references if reference.path[0] != THINGS)
    shape = read_shape(again.tokens, seen, counts_characters=counts)
    paths = tuple(reference.path for reference in lengths)
    return _Measured(zen.compile_expression(spelled), _merge(left), paths, None if shape.is_light else shape)


class TooMuchWork(ExpressionError):
    """An expression is too heavy to be evaluated at once: see `bounded`. `values` are those it reads."""

    def __init__(self, expression: Expression, values: dict[str, JsonValue]) -> None:
        reason = "it is too much work to be done here; go through fewer items"
        super().__init__(expression.place, expression.shown, reason)
        self.expression = expression
        self.values = values
        self.key = str(id(expression))


def compile_expression(
    source: str, place: str = "", names: Collection[str] | None = None, rewritten: Mapping[str, str] | None = None
) -> Expression:
    """Compiles a bare expression. With `names`, any other name in it is an error; `place` (`file:line`) begins each
    message. `rewritten` are the texts that take the place of those that read through references.

    Raises ExpressionError for what cannot be read, with the offset in `source`.
    """
    shown, source = source, rewritten.get(source, source) if rewritten else source
    try:
        reading = read_names(source, names)
        spelled = spell(source, reading.tokens)
    except Unreadable as error:
        raise ExpressionError(place, source, error.reason, error.offset) from None
    problem = zen.validate_expression(spelled)
    if problem is not None:
        reason, offset = _syntax_message(source, str(problem.get("source", "")))
        raise ExpressionError(place, source, reason, offset)
    try:
        return Expression(source, place, reading, spelled, shown)
    except Unreadable as error:
        raise ExpressionError(place, source, error.reason, error.offset) from None


def tidy(value: JsonValue) -> JsonValue:
    """The value with whole floats as integers (below 2^53, where floats are exact)."""
    if type(value) is float:
        return int(value) if value.is_integer() and abs(value) < MAX_EXACT else value
    if type(value) is list:
        return [tidy(item) for item in value]
    if type(value) is dict:
        return {key: tidy(item) for key, item in value.items()}
    return value


def describe_type(value: JsonValue) -> str:
    """The type of a JSON value in the words of app authors: text, number, boolean, list, object or null."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def _merge(references: tuple[Reference, ...]) -> _Wanted:
    paths = {reference.path for reference in references}
    wanted: _Wanted = {}
    for path in paths:
        if any(path[:length] in paths for length in range(1, len(path))):
            continue  # a shorter path wants the whole value already
        level = wanted
        for name in path:
            level = level.setdefault(name, {})
    return wanted


def _pick(values: Mapping[str, JsonValue], wanted: _Wanted) -> dict[str, JsonValue]:
    picked: dict[str, JsonValue] = {}
    for name, members in wanted.items():
        value = values.get(name)
        picked[name] = _pick(value, members) if members and isinstance(value, dict) else value
    return picked


def _walk(scope: Mapping[str, JsonValue], path: tuple[str, ...]) -> JsonValue:
    value = scope.get(path[0])
    for name in path[1:]:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _compile_path(path: tuple[str, ...]) -> Evaluate:
    """`tidy(_walk(scope, path))` as a function of the scope. Most paths have two names, such as `params.number`."""
    if len(path) != 2:
        return lambda scope: tidy(_walk(scope, path))
    root, member = path

    def read(scope: Mapping[str, JsonValue]) -> JsonValue:
        values = scope.get(root)
        value = values.get(member) if isinstance(values, dict) else None
        return value if type(value) is str else tidy(value)

    return read


def _bare_path(source: str, references: tuple[Reference, ...]) -> tuple[str, ...] | None:
    if len(references) == 1 and _PATH.fullmatch(source) and source.strip() not in _NOT_A_PATH:
        return references[0].path
    return None


def _holds_invalid_date(value: JsonValue) -> bool:
    if isinstance(value, str):
        return _INVALID_DATE in value
    if isinstance(value, list):
        return any(_holds_invalid_date(item) for item in value)
    return isinstance(value, dict) and any(_holds_invalid_date(item) for item in value.values())


def _zen_message(error: RuntimeError) -> str:
    """What zen says, without its backtrace: its errors are a JSON object, an empty line and frames."""
    text = str(error).partition("\n")[0]
    try:
        return str(json.loads(text)["source"]).partition("\n")[0]
    except (ValueError, KeyError, TypeError):
        return text.partition("\n")[0]


def _syntax_message(source: str, message: str) -> tuple[str, int | None]:
    """zen's words for a syntax error in ours, and its byte offset as a character offset."""
    match = re.search(r" at \(?(\d+)(?:, \d+\))?", message)
    offset = len(source.encode()[: int(match[1])].decode(errors="ignore")) if match else None
    if message.startswith("Invalid function call"):
        name = re.search(r"`(\w+)`", message)
        return f"{name[1] if name else 'a function'}(…) takes a different number of arguments", None
    if "Unexpected end" in message or "token: None" in message or "Unexpected EOF" in message:
        return "it ends too early", offset
    if offset is not None and offset < len(source):
        return f"syntax error at {source[offset : offset + 20]!r}", offset
    return "syntax error; is an operator, a comma or a quote missing?", offset
