"""Option sets of app.yaml: what fields and parameters of their names hold."""

import pytest

from penstock.reading.loader import load_files
from tests.site import read_app

TYPE = "type: order\nfields: {state: status, states: list of status}\n"
WORKFLOW = """
workflow: w
parameters: {state: {type: status, optional: true, default: new}}
steps:
  - create: order
    set: {state: VALUE}
"""


def problems(head: str, value: str = "paid") -> list[str]:
    files = {"app.yaml": head, "types/o.yaml": TYPE, "workflows/w.yaml": WORKFLOW.replace("VALUE", value)}
    return [str(problem) for problem in load_files({name: text.encode() for name, text in files.items()}).problems]


def test_a_field_and_a_parameter_hold_the_options_of_their_set() -> None:
    app = read_app(
        {
            "app.yaml": "app: a\noptions: {status: [new, paid]}",
            "types/o.yaml": TYPE,
            "workflows/w.yaml": WORKFLOW.replace("VALUE", "paid"),
        }
    )
    assert app.options["status"].values == ("new", "paid")
    assert [str(field.type) for field in app.types["order"].fields] == ["status", "list of status"]
    assert str(app.workflows["w"].parameters[0].type) == "status"


def test_a_constant_that_is_no_option_is_refused_where_it_stands() -> None:
    (problem,) = problems("app: a\noptions: {status: [new, paid]}", "payed")
    assert problem.endswith("field 'state': expected one of new, paid") or "expected one of new, paid" in problem


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("{status: []}", "the option set 'status' has no options; such as [new, paid]"),
        ("{status: [new, paid, new]}", "the option 'new' of 'status' is there twice"),
        ("{status: [new, ' paid']}", "the option ' paid' of 'status' is empty, or has spaces around it"),
        ("{status: [new, paid], Status: [a]}", "'Status' cannot name an option set; use at most 63"),
        ("{status: [new, paid], text: [a]}", "'text' is a built-in type; choose another name"),
        ("{status: [new, paid], user: [a]}", "'user' is a built-in type; choose another name"),
        ("{status: [new, paid], order: [a]}", "'order' is an option set already; choose another name"),
        ("{status: {}}", "the option set 'status' has no options"),
        ("{status: {new: {rank: 1}, paid: {rank: high}}}", "app.yaml:2: 'rank' of 'paid' is text, and a number in"),
        ("{status: {new: [], paid: {}}}", "the option 'new' is written as keys and values, not as a list"),
        ("{status: {new: {tags: [a, 1]}, paid: {}}}", "the items of the attribute 'tags' are not all of one type"),
        ("{status: {new: {a: {b: 1}}, paid: {}}}", "'a' is a text, a number, true or false, or a list of these, not"),
        ("{status: {new: {a b: 1}, paid: {}}}", "'a b' cannot name an attribute; use at most 63"),
        ("{status: {new: {a: 1e999}, paid: {}}}", "1e999 is not a number that JSON can hold"),
        ('{status: {new: {a: "\\0"}, paid: {}}}', "the attribute 'a': the text holds a character that cannot be"),
        (
            f"{{status: {{new: {{{', '.join(f'a{n}: 1' for n in range(51))}}}, paid: {{}}}}}}",
            "an option may have 50 attributes",
        ),
    ],
)
def test_a_wrong_option_set_is_one_problem(options: str, reason: str) -> None:
    found = problems(f"app: a\noptions: {options}")
    assert any(reason in problem for problem in found), found


def test_more_options_than_a_set_may_have_are_refused() -> None:
    found = problems(f"app: a\noptions: {{status: [new, paid, {', '.join(f'o{n}' for n in range(1000))}]}}")
    assert any("may have 1000 options, and 'status' has 1002; make it a data type" in problem for problem in found)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("${params.state.colour}", "the option set 'status' has no attribute 'colour'; did you mean 'color'?"),
        ("${params.state.rank + 'x'}", "+ does not take a number and text"),
        ("${len(params.state.rank)}", "`len(params.state.rank)`"),
    ],
)
def test_check_knows_the_attributes_of_options(value: str, reason: str) -> None:
    (problem,) = problems("app: a\noptions: {status: {new: {color: red, rank: 1}, paid: {color: blue}}}", f'"{value}"')
    assert problem.startswith("workflows/w.yaml:6:")
    assert reason in problem


def test_what_has_no_attributes_says_so() -> None:
    (problem,) = problems("app: a\noptions: {status: [new, paid]}", '"${params.state.color}"')
    assert "the option set 'status' has no attribute 'color'; there are none" in problem


def test_the_condition_of_a_change_trigger_cannot_read_attributes() -> None:
    trigger = "on: {change: {type: order, operations: [update], when: after.state.rank == 1}}"
    files = {
        "app.yaml": "app: a\noptions: {status: {new: {rank: 1}}}",
        "types/o.yaml": TYPE,
        "workflows/w.yaml": f"workflow: w\n{trigger}\nsteps: [{{log: changed}}]\n",
    }
    (problem,) = load_files({name: text.encode() for name, text in files.items()}).problems
    assert "reading 'rank' of after.state, which is an option of 'status', is not possible here" in str(problem)


def test_attributes_are_kept_with_the_options() -> None:
    head = "app: a\noptions:\n  status:\n    new: {label: New, tags: [a, b], next: []}\n    paid:\n"
    app = read_app({"app.yaml": head, "types/o.yaml": TYPE, "workflows/w.yaml": WORKFLOW.replace("VALUE", "paid")})
    assert app.options["status"].values == ("new", "paid")
    assert app.options["status"].attributes == {"new": {"label": "New", "tags": ["a", "b"], "next": []}, "paid": {}}
