"""`penstock eval`: the value of an expression, or what is wrong with it and where."""

import json

import pytest
from typer.testing import CliRunner, Result

from penstock.cli.program import build_program


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build_program(["eval"]), ["eval", *arguments], env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    ("expression", "params", "written"),
    [
        ("1 + 2 * 3", "{}", "7\n"),
        ("params.name + '!'", '{"name": "Zoë"}', "Zoë!\n"),
        ("map(params.xs, # * 2)", '{"xs": [1, 2]}', "[2,4]\n"),
        ("params.missing ?? null", '{"missing": null}', "null\n"),
        ("d(now) > '2020-01-01'", "{}", "true\n"),
    ],
)
def test_the_value_is_plain_text_where_it_is_piped(expression: str, params: str, written: str) -> None:
    outcome = run(expression, "--params", params)
    assert (outcome.stdout, outcome.exit_code) == (written, 0)


def test_the_value_and_its_type_are_json_on_demand() -> None:
    outcome = run("params.xs", "--params", '{"xs": [1]}', "--json")
    assert json.loads(outcome.stdout) == {"value": [1], "type": "list"}


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("map(params.xs, x => x)", "a function `x => …` is written with # for the item: map(list, #.name)"),
        ("1 + 'a'", "+ does not take a number and text; write string(…) to put a number into a text"),
        ("'é' + parms.n", "unknown name 'parms'; did you mean 'params'?"),
        ("params.ns", "params has no member 'ns'; did you mean 'n'?"),
    ],
)
def test_what_is_wrong_is_shown_with_a_caret_under_it(expression: str, message: str) -> None:
    outcome = run(expression, "--params", '{"n": 3, "xs": []}')
    said, shown, caret = outcome.stderr.splitlines()
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert said == f"penstock: {message}"
    places = {"map(params.xs, x => x)": "=>", "1 + 'a'": "+", "'é' + parms.n": "parms", "params.ns": "ns"}
    assert shown[caret.index("^") :].startswith(places[expression])


def test_where_params_is_empty_the_option_that_gives_it_is_named() -> None:
    outcome = run("params.n + 1")
    assert outcome.exit_code == 1
    assert outcome.stderr.splitlines()[-1] == '  `params` is empty; give it as JSON: --params \'{"name": "value"}\''
    assert "--params" not in run("parms + 1", "--params", '{"n": 1}').stderr


def test_the_line_with_the_mistake_is_shown_and_a_long_one_is_cut() -> None:
    outcome = run("1 +\n  " + "1 + " * 200 + "range(3)")
    _, shown, caret = outcome.stderr.splitlines()
    assert len(shown) <= 102
    assert shown[caret.index("^") :] == "range(3)"


def test_what_fails_only_when_it_is_evaluated_is_said_too() -> None:
    outcome = run("number('x')")
    assert (outcome.exit_code, outcome.stderr) == (1, "penstock: Function 'number' failed: Invalid number\n")


@pytest.mark.parametrize("params", ["[1]", "{", "3", ""])
def test_parameters_that_are_not_an_object_are_a_mistake_of_usage(params: str) -> None:
    assert run("1", "--params", params).exit_code == 2
