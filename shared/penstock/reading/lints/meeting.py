"""Whether what a step changes can meet the condition of a change trigger.

A trigger that asks for `after.paid and before.paid != true` is not started by a step that sets nothing but `note`,
since then `paid` is before what it is after. To find out, the condition is computed for all combinations of a few
values for each field it reads: those it compares with, their neighbours, and null. That decides conditions made of
fields, literals, comparisons, `and`, `or`, `not`; of any other the answer is that they can be met.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.definitions.models import Operation, Step
from penstock.expressions import Expression, ExpressionError, compile_expression

MAX_COMBINATIONS: Final = 5_000
_TEXT: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_PLAIN: Final = re.compile(r"[\w\s.()<>=!]*", re.ASCII)
_CALL: Final = re.compile(r"\b(?!and\b|or\b|not\b|in\b)[A-Za-z_]\w*\s*\(")
_NULL_CHECK: Final = re.compile(r"\b(before|after)\s*(?:==|!=)\s*null\b")
_BARE: Final = re.compile(r"\b(?:before|after)\b(?!\s*\.)")
_Values = dict[str, JsonValue]


class _Change(NamedTuple):
    """One way in which a field may stand before and after a change."""

    before: JsonValue
    after: JsonValue


def can_meet(step: Step, operation: Operation, when: str | None) -> bool:
    """Whether a change by `operation`, as the step makes it, can meet `when`; True where that cannot be decided."""
    written = _written_fields(step)
    if when is None or written is None or not _is_decidable(when):
        return True
    try:
        expression = compile_expression(when)
    except ExpressionError:
        return True
    fields = sorted({reference.path[1] for reference in expression.references if len(reference.path) > 1})
    domain = _domain_of(when, written)
    ways = [list(_ways(operation, name, written, domain)) for name in fields]
    count = 1
    for way in ways:
        count *= len(way)
    if count > MAX_COMBINATIONS or any(len(reference.path) > 2 for reference in expression.references):
        return True
    return any(_holds(expression, operation, dict(zip(fields, way, strict=True))) for way in product(*ways))


def _written_fields(step: Step) -> _Values | None:
    """The fields a step writes, with literals as they are and None-able texts for others; None when any may be."""
    written: _Values = {}
    for key in ("set", "add", "remove"):
        values = step.arguments.get(key)
        if isinstance(values, str) or (values is not None and not isinstance(values, dict)):
            return None
        for name, value in (values or {}).items():
            written[name] = value if key == "set" else "${}"
    return None if step.arguments.get("upsert") else written


def _is_decidable(when: str) -> bool:
    bare = _TEXT.sub(" ", when)
    if not _PLAIN.fullmatch(bare) or _CALL.search(bare):
        return False
    return len(_BARE.findall(bare)) == len(_NULL_CHECK.findall(bare))


def _domain_of(when: str, written: _Values) -> list[JsonValue]:
    """The values to try: what the condition compares with and the step writes, neighbours of numbers, null, others."""
    literals: list[JsonValue] = [text[1:-1] for text in _TEXT.findall(when)]
    literals += [value for value in written.values() if not _is_computed(value)]
    numbers = [float(number) for number in _NUMBER.findall(_TEXT.sub(" ", when))]
    numbers += [value for value in literals if isinstance(value, int | float) and not isinstance(value, bool)]
    near: list[JsonValue] = [number + step for number in [0.0, *numbers] for step in (-1, 0, 1)]
    unique: list[JsonValue] = []
    for value in [None, True, False, "another text", *literals, *near]:
        if not any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in unique):
            unique.append(value)
    return unique


def _is_computed(value: JsonValue) -> bool:
    return isinstance(value, str) and "${" in value


def _ways(
    operation: Operation, name: str, written: Mapping[str, JsonValue], domain: list[JsonValue]
) -> Iterator[_Change]:
    """How a field may stand before and after."""
    afters: list[JsonValue] = domain
    if name in written and not _is_computed(written[name]):
        afters = [written[name]]
    elif name not in written and operation is Operation.CREATE:
        afters = [None]
    if operation is Operation.UPDATE and name not in written:
        yield from (_Change(value, value) for value in domain)
    elif operation is Operation.UPDATE:
        yield from (_Change(before, after) for before in domain for after in afters)
    elif operation is Operation.CREATE:
        yield from (_Change(None, after) for after in afters)
    else:
        yield from (_Change(before, None) for before in domain)


def _holds(expression: Expression, operation: Operation, changes: Mapping[str, _Change]) -> bool:
    before: JsonValue = {name: change.before for name, change in changes.items()}
    after: JsonValue = {name: change.after for name, change in changes.items()}
    scope = {
        "before": None if operation is Operation.CREATE else before,
        "after": None if operation is Operation.DELETE else after,
    }
    try:
        return expression.holds(scope)
    except ExpressionError:
        return False
