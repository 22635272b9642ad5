"""What is known of an expression before it runs: never more than is true, and what cannot be meant is refused."""

from itertools import product

import pytest
from pydantic import JsonValue

from penstock.expressions import ExpressionError, compile_expression
from penstock.expressions.functions import ACCEPTED, FUNCTION_TABLE, METHODS, Function
from penstock.expressions.inference import Mismatch, infer
from penstock.expressions.kinds import (
    ANYTHING,
    BOOLEAN,
    DATE,
    MOMENT,
    NUMBER,
    TEXT,
    Kind,
    id_of,
    list_of,
    object_of,
    or_error,
)
from penstock.expressions.operators import BINDS, OPERATORS
from penstock.expressions.tokens import CLOSURES

ORDER = object_of(
    {
        "_id": id_of("order"),
        "number": TEXT,
        "total": NUMBER,
        "Total price": NUMBER,
        "placed": DATE,
        "by": id_of("user"),
    },
    of="order",
)
USER = object_of({"_id": id_of("user"), "email": TEXT}, of="user")
NAMES = {
    "params": object_of(
        {
            "n": NUMBER, "name": TEXT, "ok": BOOLEAN, "xs": list_of(NUMBER), "ts": list_of(TEXT), "at": DATE,
            "order": id_of("order"), "any": ANYTHING,
        }
    ),
    "steps": object_of({"o": ORDER, "found": object_of({"results": list_of(ORDER)}), "e": or_error(ORDER)}),
    "user": USER,
    "now": DATE,
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("params.n * 2", NUMBER),
        ("params.name + '!'", TEXT),
        ("`${params.n} of ${params.name}`", TEXT),
        ("params.any.x.y[0].z + 1", ANYTHING),
        ("params.n ?? 'none'", ANYTHING),
        ("(params.n ?? 0) + 1", NUMBER),
        ("1 + null ?? 5", NUMBER),
        ("params.n > 1 ? params.name : null", TEXT),
        ("1 + 2 == 3 and not (params.name == 'b') or false", BOOLEAN),
        ("d(now).add('3d')", MOMENT),
        ("d(now) < params.at", BOOLEAN),
        ("d(now).diff(params.at, 'day') + 1", NUMBER),
        ("d(now).format('%Y')", TEXT),
        ("map(params.xs, # * 2)", list_of(NUMBER)),
        ("map(steps.found.results as order, order.total + 1)", list_of(NUMBER)),
        ("filter(steps.found.results, #.total > 3)", list_of(ORDER)),
        ("filter(steps.found.results, #.total > 3)[0].number", TEXT),
        ("sum(map(steps.found.results, #.total))", NUMBER),
        ("min(map(steps.found.results, d(#.placed))) < now", BOOLEAN),
        ("map(params.xs, {n: #, s: string(#)})[0].s + 'a'", TEXT),
        ("map([1..3], {n: #})", list_of(object_of({"n": NUMBER}))),
        ("params.n in [1..3]", BOOLEAN),
        ("params.ts[0:2]", list_of(TEXT)),
        ("params.name[0] == 'a'", BOOLEAN),
        ("steps.o['Total price'] * 2", NUMBER),
        ("steps.o._id == params.order", BOOLEAN),
        ("steps.o.by == user._id", BOOLEAN),
        ("steps.o == null", BOOLEAN),
        ("steps.e.error.message", TEXT),
        ("unknown.member.of + 1", ANYTHING),
        ("not params.ok", BOOLEAN),
        ("len(params.ts) > 0 ? params.ts[0] : null", TEXT),
        ("{a: 1, 'b': 'x'}", object_of({"a": NUMBER, "b": TEXT})),
        ("-params.n ^ 2 % 3", NUMBER),
    ],
)
def test_the_kind_of_an_expression_is_known(source: str, kind: Kind) -> None:
    compile_expression(source)
    assert infer(source, NAMES) == kind


_SUB = "write d(a).diff(d(b), 'day') for the time between two dates, d(a).add('3d') or d(a).sub('3d') for another"
_STRING = "write string(…) to put a number into a text"
_QUOTES = "write the number without quotes, or number(…) to read it from a text"


@pytest.mark.parametrize(
    ("source", "at", "reason", "hint"),
    [
        ("steps.o.numbr", "numbr", "'order' has no field 'numbr'", "did you mean 'number'?"),
        ("steps.o.total_price", "total_price", "'order' has no field 'total_price'", "write steps.o['Total price']"),
        (
            "params.xs.length", "length", "params.xs is a list of numbers, which has no member 'length'",
            "write len(params.xs)",
        ),
        ("params.name.size", "size", "params.name is text, which has no member 'size'", "write len(params.name)"),
        ("params.n.value", "value", "params.n is a number, which has no member 'value'", ""),
        ("params.ts.first", "first", "params.ts is a list of text, which has no member 'first'", "write params.ts[0]"),
        (
            "steps.found.results.total", "total",
            "steps.found.results is a list of order, which has no member 'total'",
            "write steps.found.results[0].total for the first, map(steps.found.results, #.total) for all",
        ),
        (
            "params.order.number", "number",
            f"reading 'number' through params.order, which is {id_of('order')}, is not possible here",
            'add a step `get: order` with `id: "${params.order}"`, and read steps.<its id>.number',
        ),
        ("params.order._id", "_id", "params.order is the id of a thing already", "write params.order"),
        ("params.name == 3", "==", "== compares text with a number, which are never equal", _QUOTES),
        (
            "params.ok == 'yes'", "==", "== compares true or false with text, which are never equal",
            "compare with true or false, without quotes",
        ),
        (
            "params.order == user", "==",
            "== never finds the id of a thing of type 'order' and a thing of type 'user' equal", "compare their _id",
        ),
        ("params.name < 'b'", "<", "< compares numbers or dates, not text with text", "write d(a) < d(b) for times"),
        ("params.at < now", "<", "< compares numbers or dates, not a date with a date", "write d(a) < d(b) for times"),
        ("now - 3", "-", "- takes numbers, not a date", _SUB),
        ("d(now) + 3", "+", "+ takes numbers, not a date", _SUB),
        ("params.name + params.n", "+", "+ does not take text and a number", _STRING),
        ("`a${params.n + params.name}`", "+", "+ does not take a number and text", _STRING),
        (
            "now.year()", "year", "now is a date, and only what d(…) gives has methods", "write d(now).year(…)",
        ),
        ("d(now).year", "year", "d(now) is a date, which has no member 'year'", "write d(now).year()"),
        (
            "params.n ? 1 : 2", "params.n", "? : takes true or false, not a number",
            "compare with something, such as a != 0",
        ),
        (
            "not params.n == 2", "not", "not takes true or false, not a number",
            "put the comparison in brackets: not (a == b)",
        ),
        ("'a' in params.name", "in", "in looks into a list, not into text", "write contains(text, part)"),
        ("1 in params.ts", "in", "in compares a number with text, which are never equal", _QUOTES),
        ("len(params.n)", "params.n", "len(…) takes text or list, not a number", "write string(…) to make text of it"),
        (
            "sum(steps.found.results)", "steps.found", "sum(…) takes a list of numbers, not a list of order",
            "write sum(map(list, #.total)) to take a number from each item",
        ),
        ("map(params.n, # + 1)", "params.n", "map(…) goes through a list, not a number", ""),
        ("map(params.ts, # * 2)", "*", "* takes numbers, not text", "write number(…) to read a number from a text"),
        ("filter(steps.found.results, #.totl > 3)", "totl", "'order' has no field 'totl'", "did you mean 'total'?"),
        (
            "filter(params.ts, #)", "#", "filter(…) takes true or false, not text",
            "compare with something, such as a != null",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_place(source: str, at: str, reason: str, hint: str) -> None:
    compile_expression(source)
    with pytest.raises(Mismatch) as caught:
        infer(source, NAMES)
    assert (caught.value.reason, caught.value.hint) == (reason, hint)
    assert source[caught.value.offset :].startswith(at)


SAMPLES: dict[str, tuple[Kind, JsonValue]] = {
    "number": (NUMBER, 3),
    "text": (TEXT, "b"),
    "boolean": (BOOLEAN, True),
    "date": (DATE, "2026-01-31T09:00:00Z"),
    "list": (list_of(NUMBER), [1, 2]),
    "texts": (list_of(TEXT), ["a"]),
    "object": (object_of({"a": NUMBER}), {"a": 1}),
}
SPELLED = {**{name: name for name in SAMPLES}, "moment": "d(date)"}
KINDS = {name: kind for name, (kind, _) in SAMPLES.items()}
VALUES = {name: value for name, (_, value) in SAMPLES.items()}
NEVER = {"==": False, "!=": True, "in": False, "not in": True}
TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float), "text": (str,), "boolean": (bool,), "date": (str,), "moment": (str,), "list": (list,),
    "object": (dict,),
}  # fmt: skip


@pytest.mark.parametrize(("sign", "left", "right"), list(product(BINDS, SPELLED, SPELLED)))
def test_an_operator_is_refused_only_where_the_library_never_does_it(sign: str, left: str, right: str) -> None:
    check_against_the_library(f"{SPELLED[left]} {sign} {SPELLED[right]}", NEVER.get(sign))


@pytest.mark.parametrize("name", FUNCTION_TABLE)
def test_a_function_is_refused_only_what_the_library_refuses(name: str) -> None:
    function = FUNCTION_TABLE[name]
    if name in CLOSURES:
        for given in SPELLED.values():
            check_against_the_library(f"{name}({given}, true)", None)
        return
    good = [next(word for word in SPELLED if word in ACCEPTED[takes]) for takes in function.takes]
    for position, given in product(range(len(function.takes)), SPELLED.values()):
        arguments = [SPELLED[word] for word in good]
        arguments[position] = given
        check_against_the_library(f"{name}({', '.join(arguments)})", None)


def check_against_the_library(source: str, never: bool | None) -> None:
    """What is refused fails, or is always the same; what is not refused gives a value of the kind that was inferred."""
    expression = compile_expression(source)
    try:
        kind = infer(source, KINDS)
    except Mismatch:
        try:
            value = expression.evaluate(VALUES)
        except ExpressionError:
            return
        assert never is not None, f"{source} is {value!r}"
        assert value is never
        return
    try:
        value = expression.evaluate(VALUES)
    except ExpressionError:
        return
    assert value is None or not kind.is_decided or isinstance(value, TYPES[kind.word]), f"{source}: {value!r}, {kind}"


@pytest.mark.parametrize(("name", "function"), [*FUNCTION_TABLE.items(), *METHODS.items()])
def test_a_function_does_what_its_example_shows(name: str, function: Function) -> None:
    assert name in function.example
    assert compile_expression(function.example).evaluate({}) == function.answer
    kind = infer(function.example, {})
    assert not kind.is_decided or isinstance(function.answer, TYPES[kind.word])


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.written)
def test_an_operator_does_what_its_example_shows(operator: object) -> None:
    assert operator in OPERATORS
    row = next(one for one in OPERATORS if one is operator)
    assert compile_expression(row.example).evaluate({}) == row.answer
