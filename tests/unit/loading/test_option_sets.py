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
    ],
)
def test_a_wrong_option_set_is_one_problem(options: str, reason: str) -> None:
    found = problems(f"app: a\noptions: {options}")
    assert any(reason in problem for problem in found), found


def test_more_options_than_a_set_may_have_are_refused() -> None:
    found = problems(f"app: a\noptions: {{status: [new, paid, {', '.join(f'o{n}' for n in range(1000))}]}}")
    assert any("may have 1000 options, and 'status' has 1002; make it a data type" in problem for problem in found)
