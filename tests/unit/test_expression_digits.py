"""Numbers of more than 16 digits keep them in expressions that do not compute with them."""

import pytest
from pydantic import JsonValue

from penstock import exact_json
from penstock.expressions import compile_expression, compile_template

BIG = 18446744073709551617
SCOPE = exact_json.loads(
    """{"params": {"id": 9007199254740993, "other": 9007199254740995, "big": 18446744073709551617, "half": "a\\u00e9",
    "part": 0.1234567890123456789, "none": null, "n": 2, "same": 18446744073709551617,
    "rows": [{"id": 9007199254740993, "paid": true}, {"id": 9007199254740995, "paid": true},
             {"id": 123456789012345678901234567890, "paid": false}, {"id": 0.1234567890123456789, "paid": true}]}}"""
)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("params.id", "9007199254740993"),
        ("params.rows[1].id", "9007199254740995"),
        ("params.none ?? params.big", "18446744073709551617"),
        ("params.n > 1 ? params.part : 0", "0.1234567890123456789"),
        (
            "map(params.rows, #.id)",
            "[9007199254740993,9007199254740995,123456789012345678901234567890,0.1234567890123456789]",
        ),
        ("filter(params.rows, not #.paid)[0].id", "123456789012345678901234567890"),
        ("string(params.big)", '"18446744073709551617"'),
        ("params.big == params.same", "true"),
        ("params.id == params.other", "false"),
        ("params.big in map(params.rows, #.id)", "false"),
        ("params.big > 5", "true"),
        ("params.n * 1.5", "3"),
        ("params.n / 4", "0.5"),
    ],
)
def test_digits_are_kept(source: str, expected: str) -> None:
    assert isinstance(SCOPE, dict)
    value = compile_expression(source).evaluate(SCOPE)
    assert exact_json.dumps(value).decode() == expected


def test_digits_are_kept_inside_a_text() -> None:
    assert isinstance(SCOPE, dict)
    template = compile_template({"a": "${params.big}/${params.part}/${params.rows[0].id}"})
    assert template.evaluate(SCOPE) == {"a": "18446744073709551617/0.1234567890123456789/9007199254740993"}


def test_half_a_surrogate_pair_does_not_stop_an_expression() -> None:
    scope: dict[str, JsonValue] = {"params": {"a": "x\ud800"}}
    assert compile_expression("len(params.a)").evaluate(scope) in {2, 4}
