"""Parameters as they are typed on a command line."""

import pytest
from pydantic import JsonValue

from penstock.cli.values import read_values, split_pairs
from penstock.definitions.models import FieldType, Parameter, Workflow


def _read(type: FieldType, text: str) -> JsonValue:
    workflow = Workflow(name="w", parameters=(Parameter(name="p", type=type),))
    return read_values(workflow, {"p": text})["p"]


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        (FieldType("text"), "hello", "hello"),
        (FieldType("text"), "123", "123"),
        (FieldType("text"), "true", "true"),
        (FieldType("text"), '"in quotes"', "in quotes"),
        (FieldType("text"), '{"a": 1}', '{"a": 1}'),
        (FieldType("text"), "", ""),
        (FieldType("text"), "a=b", "a=b"),
        (FieldType("number"), "123", 123),
        (FieldType("number"), "1.5", 1.5),
        (FieldType("boolean"), "true", True),
        (FieldType("boolean"), "yes", True),
        (FieldType("text", is_list=True), '["a", "b"]', ["a", "b"]),
        (FieldType("number", is_list=True), "[1, 2]", [1, 2]),
        (FieldType("date"), "2030-01-31T09:00:00Z", "2030-01-31T09:00:00.000Z"),
        (FieldType("any"), '{"a": [1]}', {"a": [1]}),
        (FieldType("any"), "{not json", "{not json"),
        (FieldType("user"), "1700000000000x123456789012345678", "1700000000000x123456789012345678"),
        (FieldType("number"), "null", None),
    ],
)
def test_value_is_read_as_its_type_asks(type: FieldType, text: str, value: JsonValue) -> None:
    assert _read(type, text) == value


def test_what_does_not_fit_stays_a_text_for_the_check_to_refuse() -> None:
    assert _read(FieldType("number"), "many") == "many"
    assert read_values(Workflow(name="w"), {"unknown": "1"}) == {"unknown": "1"}


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert split_pairs(["a=1", "b=", "c=d=e"]) == {"a": "1", "b": "", "c": "d=e"}


@pytest.mark.parametrize(
    ("pairs", "message"), [(["a"], "key=value"), (["=1"], "key=value"), (["a=1", "a=2"], "given twice")]
)
def test_pairs_that_cannot_be_meant_are_refused(pairs: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_pairs(pairs)
