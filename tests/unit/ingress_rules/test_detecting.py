"""Which parameters a sample suggests, and how they are put into a file."""

import pytest
from pydantic import JsonValue

from penstock.cli.detected import insert_parameters
from penstock.definitions.detected import MAX_DETECTED, DetectedParameter, detect_parameters, write_parameters
from penstock.definitions.values import ValueSource

BLOCK = "parameters:\n  name: text\n"


@pytest.mark.parametrize(
    ("value", "type"),
    [
        ("Ada", "text"),
        ("", "text"),
        ("12", "text"),
        ("2026-11-27", "date"),
        ("2026-11-27T09:00:00Z", "date"),
        ("2026-11-27 is a Friday", "text"),
        ("2026-13-45", "text"),
        (3, "number"),
        (3.5, "number"),
        (True, "boolean"),
        (["a", "b"], "list of text"),
        ([1, None, 2.5], "list of number"),
        ([1, "a"], "list of any"),
        ([[1]], "list of any"),
        ([], "list of any"),
        ([{"a": 1}], "list of any"),
        ({"a": 1}, "any"),
        ({}, "any"),
        ({"address": "1 Main Street"}, "geographic address"),
        ({"lat": 1, "lng": 2}, "geographic address"),
        ({"lat": 1}, "any"),
        ({"filename": "a.txt", "contents": "aGVsbG8="}, "file"),
        ({"filename": "a.txt"}, "any"),
    ],
    ids=str,
)
def test_a_value_of_json_suggests_its_type(value: JsonValue, type: str) -> None:
    sample = {"given": value}
    assert detect_parameters(sample, ValueSource.JSON) == [DetectedParameter("given", type)]


@pytest.mark.parametrize(
    ("text", "type"),
    [
        ("3", "number"),
        ("-3.50", "number"),
        ("007", "text"),
        ("+49301234567", "text"),
        ("12345678901234567890", "text"),
        ("true", "boolean"),
        ("yes", "text"),
        ("2026-11-27", "date"),
        ("Ada", "text"),
    ],
)
def test_a_field_of_a_form_suggests_what_it_reads_as(text: str, type: str) -> None:
    assert detect_parameters({"given": text}, ValueSource.TEXT) == [DetectedParameter("given", type)]


def test_a_member_without_a_value_is_optional() -> None:
    assert detect_parameters({"given": None}, ValueSource.JSON) == [DetectedParameter("given", "any", True)]


def test_names_that_no_parameter_can_have_are_left_out() -> None:
    assert detect_parameters({"": 1, "a\nb": 1, "x" * 201: 1}, ValueSource.JSON) == []


def test_a_sample_with_too_many_members_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 200"):
        detect_parameters({str(number): 1 for number in range(MAX_DETECTED + 1)}, ValueSource.JSON)


def test_names_that_yaml_could_read_as_something_else_are_quoted() -> None:
    written = write_parameters(
        [
            DetectedParameter("name", "text"),
            DetectedParameter("true", "text"),
            DetectedParameter("a: b", "list of number", True),
            DetectedParameter("42", "number"),
        ]
    )
    assert written == (
        'parameters:\n  name: text\n  "true": text\n  "a: b": {type: list of number, optional: true}\n  "42": number\n'
    )
    assert write_parameters([]) == "parameters: {}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("workflow: greet\nsteps: []\n", f"workflow: greet\n{BLOCK}steps: []\n"),
        ("# Says hello.\nworkflow: greet  # to all\n", f"# Says hello.\nworkflow: greet  # to all\n{BLOCK}"),
        ("workflow: greet", f"workflow: greet\n{BLOCK}"),
        ("workflow: greet\r\nsteps: []\r\n", "workflow: greet\r\nparameters:\r\n  name: text\r\nsteps: []\r\n"),
        ("workflow: other\nsteps: []\n", None),
        ("workflow: greet\nparameters: {}\n", None),
        ('workflow: greet\n"parameters": {}\n', None),
        ("workflow: greet\n---\nworkflow: other\n", None),
        ("{workflow: greet}\n", None),
    ],
)
def test_a_file_is_changed_only_where_it_is_simple(before: str, after: str | None) -> None:
    assert insert_parameters(before, "greet", BLOCK) == after
