"""What an expression may cost: bounded at check, weighed when it is evaluated, and stopped when it is too much."""

import asyncio
import time

import pytest
from pydantic import JsonValue

from penstock.expressions import ExpressionError, compile_expression, compile_template
from penstock.expressions.bounded import evaluate, holds
from penstock.expressions.language import TooMuchWork

Scope = dict[str, JsonValue]
THINGS: list[JsonValue] = [{"name": f"thing {number}", "total": number, "tags": ["a", "b"]} for number in range(2_000)]
WITH_NINES = sum(number for number in range(2_000) if "9" in str(number))
LIST: Scope = {"params": {"l": list(range(10_000)), "long": list(range(30_000)), "t": "x" * 200_000, "n": 3}}


@pytest.mark.parametrize(
    "source",
    [
        "len(map([1..10000], map([1..10000], map([1..10000], # * 2))))",
        "map([1..1000], map([1..1000], 1))",
        "some([1..10000], some([-5000..5000], # > 3))",
        "map(map([1..10000], [#]), map([1..10000], 1))",
        "filter([1..10000], # in map([1..10000], # + 1))",
        "flatMap([1..400], map([1..400], #))",
    ],
)
def test_ranges_inside_each_other_are_refused_when_the_expression_is_read(source: str) -> None:
    with pytest.raises(ExpressionError, match="inside each other multiply"):
        compile_expression(source, "workflows/a.yaml:3")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("len(map([1..100], map([1..100], # * 2)))", 100),
        ("sum(map([1..10000], # * 2))", 100_010_000),
        ("len(filter(params.things, #.total > 1000 and #.name != ''))", 999),
        (
            "sum(map(filter(params.things, contains(#.name, '9')), #.total))",
            sum(n for n in range(2000) if "9" in str(n)),
        ),
        ("len(filter(params.things, #.total in params.few))", 3),
        ("len(map(params.things, map(#.tags, # + 'x')))", 2000),
        ("matches(params.zip, '^[0-9]{5}$')", True),
        ("len(params.things) > 0 ? params.things[0].name : 'none'", "thing 0"),
    ],
)
def test_what_is_light_is_computed_at_once(source: str, expected: JsonValue) -> None:
    scope: Scope = {"params": {"things": THINGS, "few": [1, 2, 3], "zip": "12345"}}
    assert compile_expression(source).evaluate(scope) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("len(filter(params.l, # in params.l))", 10_000),
        ("len(map(params.long, # + 1))", 30_000),
        ("contains(params.t" + " + params.t" * 70 + ", 'xx')", True),
        ("d('2026-01-02').format(params.form)", "2026"),
        ("len(map([1..1000], map([1..100], # * 2)))", 1_000),
    ],
)
async def test_what_is_heavy_is_computed_apart(source: str, expected: JsonValue) -> None:
    scope: Scope = {"params": {**LIST["params"], "form": "%Y"}} if isinstance(LIST["params"], dict) else {}
    expression = compile_expression(source, "workflows/a.yaml:3")
    with pytest.raises(TooMuchWork, match=r"workflows/a\.yaml:3"):
        expression.evaluate(scope)
    assert await evaluate(expression, scope) == expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("len(map(params.l, map(params.l, map(params.l, #))))", "it needs more than 256 MB|it takes longer than 5 s"),
        ("len(map(params.l, params.t + string(#)))", "it needs more than 256 MB|it takes longer than 5 s"),
        ("len(flatten(map(params.l, params.l)))", "it needs more than 256 MB|it takes longer than 5 s"),
        ("fuzzyMatch(params.t, params.t)", "it takes longer than 5 s|it needs more than 256 MB"),
        ("map(params.l, params.t)", "it needs more than 256 MB|its value is larger|it takes longer than 5 s"),
        ("d('2026-01-02').format(params.t)", "cannot be computed"),
        ("d('2026-01-02').format('%1000000000Y')", "cannot be computed"),
        ("d('2026-01-02').format('%')", "cannot be computed"),
        ("map(params.l, # + params.t)", r"\+ does not take values of these types"),
    ],
)
async def test_what_is_too_much_is_stopped_and_names_the_expression(source: str, reason: str) -> None:
    ticks = 0
    scope: Scope = {"params": {**_members(), "t": "%Q%" * 60_000}}

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    began = time.monotonic()
    with pytest.raises(ExpressionError, match=reason) as caught:
        await evaluate(compile_expression(source, "workflows/a.yaml:3"), scope)
    ticking.cancel()
    assert caught.value.place == "workflows/a.yaml:3"
    assert caught.value.source == source
    assert ticks >= int(time.monotonic() - began) * 5  # the loop was free meanwhile
    assert await evaluate(compile_expression("len(filter(params.l, # in params.l))"), LIST) == 10_000


def _members() -> Scope:
    assert isinstance(LIST["params"], dict)
    return LIST["params"]


async def test_a_template_with_several_heavy_expressions_is_evaluated() -> None:
    template = compile_template({"a": "${len(filter(params.l, # in params.l))}", "b": ["n = ${len(map(params.l, #))}"]})
    assert await evaluate(template, LIST) == {"a": 10_000, "b": ["n = 10000"]}


async def test_a_heavy_condition_has_to_be_true_or_false() -> None:
    assert await holds(compile_expression("all(params.l, # in params.l)"), LIST) is True
    with pytest.raises(ExpressionError, match="has to be true or false"):
        await holds(compile_expression("len(filter(params.l, # in params.l))"), LIST)


async def test_numbers_keep_their_digits_apart() -> None:
    scope: Scope = {"params": {**_members(), "ids": [2**70 + 1, 2**53 + 1]}}
    assert await evaluate(compile_expression("filter(params.ids, not (# in params.l))"), scope) == [
        2**70 + 1,
        2**53 + 1,
    ]


@pytest.mark.parametrize("steps", [8, 40])
def test_copies_of_copies_are_weighed(steps: int) -> None:
    source = "params.l"
    for _ in range(steps):
        source = f"map({source}, [#, #])"
    with pytest.raises((TooMuchWork, ExpressionError)):
        compile_expression(f"len({source})").evaluate({"params": {"l": list(range(7_000))}})
