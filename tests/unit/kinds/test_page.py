"""The page about expressions: it is what the tables say, and what it says holds."""

from pathlib import Path

import pytest
from pydantic import JsonValue

from penstock.expressions import compile_expression
from penstock.expressions.functions import FUNCTION_TABLE, METHODS
from penstock.expressions.page import FACTS, render_page

PAGE = Path(__file__).parents[3] / "docs" / "expressions.md"


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text() == render_page(), "run `python -m penstock.expressions > docs/expressions.md`"


def test_every_function_and_method_is_on_the_page() -> None:
    page = render_page()
    assert [name for name in FUNCTION_TABLE if f"| `{name}` |" not in page] == []
    assert [name for name in METHODS if f"| `.{name}` |" not in page] == []


@pytest.mark.parametrize(("says", "example", "answer"), FACTS)
def test_what_the_page_says_holds(says: str, example: str, answer: JsonValue) -> None:
    assert says.endswith(".")
    assert compile_expression(example).evaluate({}) == answer
