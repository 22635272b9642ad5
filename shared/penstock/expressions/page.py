"""Writes `docs/expressions.md` from the tables that `penstock check` uses: `python -m penstock.expressions`."""

from collections.abc import Iterable, Mapping
from typing import Final

import orjson
from pydantic import JsonValue

from penstock.expressions.functions import (
    CONVERSIONS,
    DATES,
    LISTS,
    METHODS,
    NUMBERS,
    OBJECTS,
    TEXTS,
    Function,
)
from penstock.expressions.operators import OPERATORS
from penstock.expressions.tokens import MAX_LENGTH, MAX_NESTING, MAX_RANGE

_HEAD: Final = """# Expressions

`when`, `key` and `decreases` take an expression as it is; everywhere else `${…}` puts one into a text. A value that is
nothing but `${…}` keeps its type; in a longer text numbers, booleans, lists and objects are written as JSON, and null
as nothing. `$${` stands for a literal `${`. The language is that of [ZEN expressions](https://gorules.io).

Try one, with parameters if it reads some:

```sh
penstock eval "sum(params.xs) * 2" --params '{"xs": [1, 2]}'
```

`penstock check` knows the types of parameters, fields, items and the results of steps, and refuses what cannot be
meant: a member that does not exist, a number compared with text, a function that is given something it does not take.
This page is made of the tables that it checks by, and every example on it is a test.

## Types

%(types)s

**Null.** A missing member is null, and so is every member of null: `webhook.payload.data.id` never fails. `==` and `!=`
compare with null; everything else fails on it, so stand in for it first: `(params.n ?? 0) + 1`.

**Things.** A step that creates, gets or updates a thing gives the thing, with its fields by name: `steps.order.total`,
`steps.order['Created Date']`. A field or parameter that refers to a thing is its id, and reads
as the thing where a member follows: `params.order.customer.email`, `map(steps.page.results, #.owner.name)`. Such things
are read before the step, all of one level together, and once in an attempt unless the run changes things meanwhile. An
id that names nothing reads as null. The `when` of a change trigger and `decreases` cannot read through references.

**Options.** One of an [option set](data.md#types-and-fields) is a text that has attributes:
`params.priority.label`. They are read where references are, and null where the option has none.

**Limits.** An expression has at most %(length)s characters, and brackets nest at most %(nesting)s deep.

## Operators

From the one that binds closest to the one that binds loosest; brackets decide otherwise.

%(operators)s

## Worth knowing

%(facts)s

## Texts

%(texts)s

## Numbers

%(numbers)s

## Lists

The second argument is evaluated for each item, which is `#` in it: `filter(steps.found.results, #.total > 100)`. With
closures inside each other, name the item: `map(params.orders as order, map(order.lines, #.price * order.rate))`.

%(lists)s

## Ranges

A range needs two literal numbers, from -%(range)s to %(range)s. It stands after `in`, or as the list that `map` and the
like go through; by itself it is not a list: write `map([1..10], #)`. Square brackets include an end and round ones
leave it out.

## Objects

%(objects)s

## Conversions

%(conversions)s

## Dates

A date is a text until `d(…)` makes a date of it that has an order, as in `d(now) > d(params.due)`, and the methods
below. As a result it is a text again, in whole seconds. `+` and `-` do not take dates: write `d(now).add('3d')`, and
`d(a).diff(b, 'day')` for the time between two.

%(dates)s

%(methods)s

Units are `year quarter month week day hour minute second`, in short `y q M w d h m s`: `m` is a minute, `M` a month.
Lengths of time put numbers before them: `'1d 12h'`. `format` takes the letters of
[strftime](https://docs.rs/chrono/latest/chrono/format/strftime/): `%%Y` year, `%%m` month, `%%d` day, `%%H` hour, `%%M`
minute, `%%S` second, `%%j` day of the year, `%%b` `%%B` name of the month, `%%a` `%%A` name of the weekday, `%%z`
offset.

## Coming from another language

%(habits)s
"""
_TYPES: Final = (
    ("text", "`'abc'` `\"abc\"` `` `${params.n} things` ``", "there is no `\\` escape: use the other quotes"),
    ("number", "`1` `0.5` `1_000`", "computed in decimals; write ids beyond 2^53 as text"),
    ("boolean", "`true` `false`", "only these are conditions: write `a != null`, `len(a) > 0`"),
    ("date", "`now`, fields of type date", "a text such as `2026-01-31T09:00:00.000Z`"),
    ("list", "`[1, 2]`", "`list[0]` is the first item"),
    ("object", "`{a: 1, 'b c': 2}`", "`object.a`, `object['b c']`"),
    ("null", "`null`", "what is missing"),
)
FACTS: Final[tuple[tuple[str, str, JsonValue], ...]] = (
    ("Numbers are decimal.", "0.1 + 0.2", 0.3),
    ("Whole numbers have no point.", "4 / 2", 2),
    ("Division by zero is null.", "1 / 0", None),
    ("`round` goes away from zero at a half.", "round(2.5)", 3),
    ("The rest has the sign of what is divided.", "-7 % 3", -1),
    ("An item that does not exist is null.", "[1, 2, 3][5]", None),
    ("A member of null is null.", "map([{a: 1}], #.b.c)", [None]),
    ("`??` binds closer than `+`.", "1 + null ?? 5", 6),
    ("`not` takes what stands next.", "not (1 == 2)", True),
    ("Characters are counted, not bytes.", "len('Zoë')", 3),
    ("A slice includes its end.", "split('a,b,c', ',')[0:1]", ["a", "b"]),
    ("A range includes both ends.", "map([1..3], #)", [1, 2, 3]),
    ("Round brackets leave an end out.", "map([1..3), #)", [1, 2]),
    ("Dates are in UTC without a zone.", "d('2026-01-31 10:00')", "2026-01-31T10:00:00Z"),
    ("A number is milliseconds since 1970.", "d(86400000)", "1970-01-02T00:00:00Z"),
    ("A month is added by the calendar.", "d('2026-01-31').add('1M')", "2026-02-28T00:00:00Z"),
    (
        "A day is 24 hours, also where clocks change.",
        "d('2026-03-28T09:00:00Z', 'Europe/Paris').add('1d')",
        "2026-03-29T11:00:00+02:00",
    ),
    ("Dates compare with texts of dates.", "d('2026-01-31') < '2026-02-01'", True),
    ("The last of several dates.", "max([d('2026-01-01'), d('2026-02-01')])", "2026-02-01T00:00:00Z"),
)
"""What is asked most often, each with an example and its result."""
_HABITS: Final = (
    ("`range(1, 10)`", "`map([1..10], #)`"),
    ("`x.length`, `size(x)`", "`len(x)`"),
    ("`x => x.total`, `lambda x: …`", "`#.total`"),
    ("`[x.total for x in xs]`", "`map(xs, #.total)`"),
    ("`x is None`, `x === undefined`", "`x == null`"),
    ("`a if b else c`", "`b ? a : c`"),
    ("`a && b`, `a \\|\\| b`, `!a`", "`a and b`, `a or b`, `not a`"),
    ("`a \\|\\| 'none'`, `default(a, 'none')`", "`a ?? 'none'`"),
    ("`x ** 2`, `x // 2`", "`x ^ 2`, `floor(x / 2)`"),
    ("`name.upper()`, `name.toUpperCase()`", "`upper(name)`"),
    ("`'a' in text`, `text.includes('a')`", "`contains(text, 'a')`"),
    ("`now - 3`, `now + timedelta(days=3)`", "`d(now).sub('3d')`, `d(now).add('3d')`"),
    ("`{{ name }}`", "`${params.name}`"),
)


def render_page() -> str:
    """The page, as Markdown."""
    return _HEAD % {
        "length": f"{MAX_LENGTH:,}",
        "nesting": MAX_NESTING,
        "range": f"{MAX_RANGE:,}",
        "operators": _table(
            ("operator", "takes", "does", "example", "its result"),
            ((row.written, row.takes, row.does, _code(row.example), _json(row.answer)) for row in OPERATORS),
        ),
        "texts": _functions(TEXTS),
        "numbers": _functions(NUMBERS),
        "lists": _functions(LISTS),
        "objects": _functions(OBJECTS),
        "conversions": _functions(CONVERSIONS),
        "dates": _functions(DATES),
        "methods": _functions(METHODS),
        "habits": _table(("written elsewhere", "here"), _HABITS),
        "types": _table(("type", "written", "what to know"), _TYPES),
        "facts": _table(
            ("rule", "example", "its result"),
            ((says, _code(example), _json(answer)) for says, example, answer in FACTS),
        ),
    }


def _functions(functions: Mapping[str, Function]) -> str:
    head = ("function", "takes", "gives", "what that is", "example", "its result")
    return _table(head, (_row(name, function) for name, function in functions.items()))


def _row(name: str, function: Function) -> tuple[str, ...]:
    takes = ", ".join(
        f"{word} (optional)" if position >= function.needs else word for position, word in enumerate(function.takes)
    )
    gives = {"item": "its item", "moment": "date"}.get(function.gives, function.gives)
    gives = gives.replace("list of item", "list").replace("list of body", "list")
    method = "." if name in METHODS and function is METHODS[name] else ""
    return f"`{method}{name}`", takes, gives, function.does, _code(function.example), _json(function.answer)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _json(value: object) -> str:
    return _code(orjson.dumps(value).decode())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
