"""Expressions and templates: what they compute, what they keep, and the message when they are wrong."""

import math

import pytest
import zen
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.expressions import ExpressionError, compile_expression, compile_template
from penstock.expressions.language import tidy
from penstock.expressions.tokens import FUNCTIONS

SCOPE: dict[str, JsonValue] = {
    "params": {
        "n": 3,
        "name": "Ada",
        "price": 0.1,
        "paid": True,
        "nothing": None,
        "items": [{"a": 5, "b": "x"}, {"a": 7, "b": "y"}],
        "first name": "Ada",
        "big": 9007199254740993,
        "huge": 1e300,
    },
    "steps": {"thing": {"_id": "17x1"}},
    "now": "2026-01-01T00:00:00.000Z",
}
NAMES = frozenset(SCOPE)
PLACE = "workflows/a.yaml:3"
RANGE_ALONE = "a range is not a list by itself; write map([1..10], #)"
NULL_HINT = "write ?? to stand in for null, as in (a ?? 0)"
ORDER_HINT = "only numbers and dates have an order: write d(a) < d(b) for times"
BOOLEAN_HINT = "compare with something to get true or false"


def evaluate(source: str) -> JsonValue:
    return compile_expression(source, PLACE, NAMES).evaluate(SCOPE)


def problem_of(source: str) -> str:
    with pytest.raises(ExpressionError) as caught:
        evaluate(source)
    return str(caught.value).removeprefix(f"{PLACE}: `{source}`: ")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("params.n - 1", 2),
        ("params.n / 2", 1.5),
        ("params.price + 0.2", 0.3),
        ("params.name", "Ada"),
        ("params.missing.x.y", None),
        ("params.nothing.x['y'][0]", None),
        ("params['first name']", "Ada"),
        ("params.nothing ?? 'none'", "none"),
        ("params.n > 2 and params.paid ? 'yes' : 'no'", "yes"),
        ("'b' not in ['a']", True),
        ("len(params.items)", 2),
        ("sum(map(params.items, #.a))", 12),
        ("map(params.items as each, each.b)", ["x", "y"]),
        ("filter(params.items, #.a > params.n + 2)", [{"a": 7, "b": "y"}]),
        ("params.n in [1..3]", True),
        ("params.n not in ((3..5])", True),
        ("map(([1..3]) as x, x)", [1, 2, 3]),
        ("params.n in (3..9)", False),
        ("d(now).add('1d')", "2026-01-02T00:00:00Z"),
        ("`${params.name} has ${params.n + 1}`", "Ada has 4"),
        ("{id: steps.thing._id, 'n': params.n}", {"id": "17x1", "n": 3}),
        ("1 / 0", None),
        ("true", True),
        ("null", None),
        ("params.big", 9007199254740993),
        ("params.huge", 1e300),
    ],
)
def test_an_expression_has_a_value(source: str, value: JsonValue) -> None:
    result = evaluate(source)

    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("param.n", "unknown name 'param'; did you mean 'params'?"),
        ("zzz", "unknown name 'zzz'; in scope here: now, params, steps"),
        ("map(params.items as x, x.a) + x", "unknown name 'x'; in scope here: now, params, steps"),
        ("$root", "unknown name '$root'; in scope here: now, params, steps"),
        ("`a ${foo} b`", "unknown name 'foo'; in scope here: now, params, steps"),
        ("lenn(params.name)", "unknown function 'lenn'; did you mean 'len'?"),
        ("params.n = 3", "= would assign; compare with =="),
        ("params.n; 1", "only one expression may stand here; remove the ;"),
        ("params.paid && true", "&& is written `and`"),
        ("params.paid || true", "|| is written `or` (or ?? to stand in for null)"),
        ("params?.n", "a member of null is null already; write . instead of ?."),
        ("params.items == []", "lists and objects are never equal; compare their parts, or len(…) with 0"),
        ("d()", "d() would read the machine's clock; write d(now)"),
        ("#.a", "# has a meaning only inside all, count, filter, flatMap, map, none, one, some"),
        ("map([1..params.n], #)", "a range needs two numbers from -10000 to 10000, such as [1..10]"),
        ("map([1..10001], #)", "a range needs two numbers from -10000 to 10000, such as [1..10]"),
        *((source, RANGE_ALONE) for source in ("[1..3]", "sum([1..3])", "{a: (1..3)}", "[1..3][0]", "[[1..3]]")),
        (
            "12345678901234567890",
            "12345678901234567890 has more digits than a number keeps; write it as text, in quotes",
        ),
        ("'open", "a ' is opened and not closed"),
        ("(1", "( is opened and not closed"),
        ("[1)", ") stands where ] should close ["),
        ("1)", ") closes nothing"),
        ("é", "'é' has no meaning in an expression (quote it if it is text)"),
        ("", "the expression is empty"),
        ("1 +", "it ends too early"),
        ("params.n +* 1", "syntax error at '* 1'"),
        ("len(params.n, 1)", "len(…) takes a different number of arguments"),
        ("params.n 1", "syntax error; is an operator, a comma or a quote missing?"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_compiled(source: str, problem: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source, PLACE, NAMES)

    assert str(caught.value) == f"{PLACE}: `{source}`: {problem}"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "params.name + 1",
            "+ does not take values of these types; params.name is text; write string(…) to put a number into a text",
        ),
        (
            "params.nothing > 1",
            f"comparing with < > <= >= does not take values of these types; params.nothing is null; {NULL_HINT}",
        ),
        (
            "now > params.name",
            (
                "comparing with < > <= >= does not take values of these types; now is text, params.name is text; "
                f"{ORDER_HINT}"
            ),
        ),
        ("params.nothing + 1", f"+ does not take values of these types; params.nothing is null; {NULL_HINT}"),
        ("not params.name", f"not does not take values of these types; params.name is text; {BOOLEAN_HINT}"),
        (
            "params.n ? 1 : 2",
            f"a condition (`and`, `? :`) does not take values of these types; params.n is number; {BOOLEAN_HINT}",
        ),
        (
            "'a' in params.name",
            (
                "in does not take values of these types; params.name is text; write contains(a, b) to look for a text "
                "in a "
                "text"
            ),
        ),
        ("-params.name", "- does not take values of these types; params.name is text"),
        ("params.items[-1]", "an index is a whole number from 0 on; params.items is list"),
        ("params.name[0:9]", "[a:b]: index out of range; params.name is text"),
        (
            "[d(params.name), {a: d(now)}]",
            "d(…) was given something that is not a date; params.name is text, now is text",
        ),
        ("len(params.nothing)", "Function 'len' failed: Cannot determine len of type null; params.nothing is null"),
        ("d(params.name)", "d(…) was given something that is not a date; params.name is text"),
        (
            "params.huge + 1",
            (
                "it reads a value that expressions cannot hold (numbers end at 7.9e28, texts are Unicode); params.huge "
                "is "
                "number"
            ),
        ),
    ],
)
def test_a_failing_expression_names_the_types_and_never_the_values(source: str, problem: str) -> None:
    assert problem_of(source) == problem


def test_a_problem_says_where_in_the_expression_it_is() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression("'é' == parms.n", PLACE, NAMES)
    assert caught.value.offset == 7

    with pytest.raises(ExpressionError) as caught:
        compile_template("Größe ${params.n +* 1}", PLACE, NAMES)
    assert caught.value.offset == 18


def test_a_panic_inside_the_engine_is_an_ordinary_error() -> None:
    assert problem_of("rand(0 - params.n)").startswith("it cannot be computed")


def test_roots_and_references_are_those_that_are_read() -> None:
    expression = compile_expression(
        "map(params.items as item, {params: item.a, b: steps['thing']._id}) ?? d(now).format('%Y')"
    )

    assert expression.roots == {"params", "steps", "now"}
    assert [reference.path for reference in expression.references] == [
        ("params", "items"),
        ("steps", "thing", "_id"),
        ("now",),
    ]


def test_only_what_an_expression_reads_is_given_to_the_engine() -> None:
    scope: dict[str, JsonValue] = {"params": {"n": 1, "unreadable": math.nan}}

    assert compile_expression("params.n + 1").evaluate(scope) == 2
    assert compile_expression("len(params) + 1").roots == {"params"}
    with pytest.raises(ExpressionError, match="expressions cannot hold"):
        compile_expression("keys(params)").evaluate(scope)


@pytest.mark.parametrize(("value", "is_met"), [(True, True), (False, False), (None, False)])
def test_a_condition_is_met_only_by_true(value: JsonValue, *, is_met: bool) -> None:
    assert compile_expression("params.x").holds({"params": {"x": value}}) is is_met


def test_a_condition_that_is_neither_true_nor_false_is_an_error() -> None:
    with pytest.raises(ExpressionError, match="a condition has to be true or false, and this is text"):
        compile_expression("params.x").holds({"params": {"x": "true"}})


def test_every_function_we_allow_is_known_to_the_engine() -> None:
    arguments = ["()", "(a)", "(a, b)"]

    assert [
        name for name in sorted(FUNCTIONS) if all(zen.validate_expression(name + given) for given in arguments)
    ] == []


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("${params.n}", 3),
        ("${params.items}", [{"a": 5, "b": "x"}, {"a": 7, "b": "y"}]),
        ("n=${params.n} half=${params.n / 2} whole=${4 / 2}", "n=3 half=1.5 whole=2"),
        ("paid ${params.paid}, ${params.nothing}.", "paid true, ."),
        ("first ${params.items[0]}", 'first {"a":5,"b":"x"}'),
        ("$${params.n} is ${params.n}", "${params.n} is 3"),
        ("${'}' + `${params.n}` + ({a: \"}\"}).a}", "}3}"),
        ({"a": ["${params.n}", {"b": "x${params.n}"}], "${params.n}": 1}, {"a": [3, {"b": "x3"}], "${params.n}": 1}),
        ([1, None, True], [1, None, True]),
    ],
)
def test_a_template_embeds_values(template: JsonValue, value: JsonValue) -> None:
    assert compile_template(template, PLACE, NAMES).evaluate(SCOPE) == value


def test_a_template_knows_whether_it_is_constant_and_what_it_reads() -> None:
    constant = compile_template({"a": ["$${x}", 1]})
    varying = compile_template({"a": "${params.n}", "b": ["${steps.thing}"]})

    assert (constant.is_constant, constant.roots, constant.evaluate({})) == (True, frozenset[str](), {"a": ["${x}", 1]})
    assert (varying.is_constant, varying.roots) == (False, frozenset({"params", "steps"}))


def test_an_embedded_expression_that_does_not_end_is_an_error() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template("a ${params.n", PLACE)

    assert (
        str(caught.value)
        == f"{PLACE}: `${{params.n`: ${{ is opened and not closed with }} (write $${{ for a literal ${{)"
    )
    assert caught.value.offset == 2


names = st.sampled_from(["a", "b", "c"])
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.decimals(-10_000, 10_000, places=4).map(float)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(names, values, max_size=3), st.lists(names, max_size=3))
def test_a_member_path_means_the_same_with_and_without_the_engine(
    members: dict[str, JsonValue], path: list[str]
) -> None:
    source = ".".join(["root", *path])
    scope: dict[str, JsonValue] = {"root": members}

    direct = compile_expression(source).evaluate(scope)

    assert direct == tidy(zen.compile_expression(source).evaluate(scope))
    assert direct == compile_expression(f"({source})").evaluate(scope)


@settings(deadline=None)
@given(st.dictionaries(names, values, max_size=3), st.lists(st.lists(names, max_size=3), min_size=1, max_size=4))
def test_picking_members_never_changes_a_result(members: dict[str, JsonValue], paths: list[list[str]]) -> None:
    source = "[" + ", ".join(".".join(["root", *path]) for path in paths) + "]"
    scope: dict[str, JsonValue] = {"root": members}

    assert compile_expression(source).evaluate(scope) == tidy(zen.compile_expression(source).evaluate(scope))


@settings(deadline=None)
@given(st.text() | st.text("aparms.n()[]{}'\"`$#+-*/=!<>?:;,1 0&|", max_size=40))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    offsets: list[int | None] = []
    for compiled in (compile_expression, compile_template):
        try:
            compiled(text, PLACE)
        except ExpressionError as error:
            offsets.append(error.offset)

    assert all(offset is None or 0 <= offset <= len(text) for offset in offsets)


@pytest.mark.parametrize(
    "name", ["and", "or", "not", "in", "true", "false", "null", "as", "len", "map", "d", "if", "now"]
)
def test_a_member_may_be_named_like_a_word_of_the_language(name: str) -> None:
    scope: dict[str, JsonValue] = {"params": {name: "a", "list": [{name: 1}, {name: 2}]}}
    for source, expected in (
        (f"params.{name}", "a"),
        (f"params.{name} == 'a' ? params.{name} : 'none'", "a"),
        (f"map(params.list, #.{name})", [1, 2]),
        (f"params.list[1].{name} + 1", 3),
        (f"`x${{params.{name}}}y`", "xay"),
    ):
        assert compile_expression(source, names={"params"}).evaluate(scope) == expected


_TEXTS: dict[str, JsonValue] = {
    "params": {
        "t": "naïve", "e": "", "a": "abc", "l": ["é", "bb", "€uro"], "n": 2, "o": {"k": "ñ"}, "k": "k",
        "rows": [{"n": "äöü"}, {"n": "xyz"}], "none": None,
    }
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("len('naïve')", 5),
        ("len(params.t)", 5),
        ("len(params.e)", 0),
        ("len(params.l)", 3),
        ("len(params.t + 'é')", 6),
        ("len(upper(params.t)) + 1", 6),
        ("map(params.l, len(#))", [1, 2, 4]),
        ("sum(map(params.rows, len(#.n)))", 6),
        ("len( params.t ) > 4 and len(params.l) == 3", True),
        ("len(map(params.l, len(#)))", 3),
        ("params.t[0:1]", "na"),
        ("params.t[2:2]", "ï"),
        ("params.t[1:params.n]", "aï"),
        ("params.t[2:]", "ïve"),
        ("params.t[:2]", "naï"),
        ("params.l[0:1]", ["é", "bb"]),
        ("params.l[params.n]", "€uro"),
        ("params.t[2]", "ï"),
        ("params.t[params.n + 1]", "v"),
        ("params.t[9]", None),
        ("params.l[2][0]", "€"),
        ("params.o[params.k]", "ñ"),
        ("params.o['k'][0:0]", "ñ"),
        ("map(params.rows, #.n[0:1])", ["äö", "xy"]),
        ("upper(params.t)[0:2]", "NAÏ"),
        ("`${params.t[0:2]}!`", "naï!"),
        ("params.n > 1 ? params.t[0:2] : params.a[1:2]", "naï"),
        ("params.t[params.n > 1 ? 1 : 0 : 2]", "aï"),
    ],
)
def test_lengths_slices_and_positions_count_characters(source: str, expected: JsonValue) -> None:
    assert compile_expression(source).evaluate(_TEXTS) == expected


def test_a_length_of_what_has_none_is_an_error_as_before() -> None:
    with pytest.raises(ExpressionError, match="Cannot determine len of type number"):
        compile_expression("len(params.n)").evaluate(_TEXTS)


def test_lengths_inside_each_other_are_refused_before_they_grow() -> None:
    with pytest.raises(ExpressionError, match="inside each other"):
        compile_expression("len(string(" * 30 + "1" + "))" * 30)
