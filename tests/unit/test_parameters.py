"""Parameters: what is bound, what values become, and Bubble's messages word for word."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.definitions.models import DataType, FieldType, Parameter, ScalarType, Workflow
from penstock.definitions.parameters import ParameterProblem, ValueSource, bind_parameters, coerce_value
from penstock.definitions.values import compile_text_reader

THING = "1700000000000x123456789012345678"
TYPES = {"user": DataType(name="user")}


def build_workflow(*parameters: Parameter) -> Workflow:
    return Workflow(name="create_thing", parameters=parameters)


def bind(
    workflow: Workflow, given: dict[str, JsonValue], source: ValueSource = ValueSource.JSON
) -> dict[str, JsonValue]:
    return bind_parameters(workflow, given, source=source, unknown="ignore", types=TYPES)


def problem_of(
    workflow: Workflow, given: dict[str, JsonValue], source: ValueSource = ValueSource.JSON
) -> tuple[str, str, str]:
    with pytest.raises(ParameterProblem) as caught:
        bind(workflow, given, source)
    return caught.value.code, caught.value.parameter, str(caught.value)


def field_type(text: str) -> FieldType:
    return FieldType(text.removeprefix("list of "), is_list=text.startswith("list of "))


def test_declared_parameters_are_bound_in_order_and_others_ignored() -> None:
    workflow = build_workflow(
        Parameter(name="name", type=FieldType("text")),
        Parameter(name="remaining", type=FieldType("number"), is_optional=True, default=0),
        Parameter(name="tags", type=FieldType("text", is_list=True), is_optional=True),
    )

    assert list(bind(workflow, {"extra": 1, "name": "a", "remaining": None}).items()) == [
        ("name", "a"),
        ("remaining", 0),
        ("tags", None),
    ]


@pytest.mark.parametrize("given", [{}, {"name": None}])
def test_a_missing_parameter_has_the_message_bubbles_clients_know(given: dict[str, JsonValue]) -> None:
    workflow = build_workflow(Parameter(name="name", type=FieldType("text")))

    assert problem_of(workflow, given) == (
        "MISSING_DATA",
        "name",
        "Missing parameter for workflow create_thing: parameter name",
    )


def test_an_invalid_parameter_has_the_message_bubbles_clients_know() -> None:
    workflow = build_workflow(Parameter(name="n", type=FieldType("number", is_list=True)))

    assert problem_of(workflow, {"n": [1, "2"]}) == (
        "INVALID_DATA",
        "n",
        "Invalid value for parameter n: item 1: expected a number, got text",
    )


def test_a_parameter_that_is_not_declared_can_be_rejected() -> None:
    workflow = build_workflow(Parameter(name="name", type=FieldType("text")))

    with pytest.raises(ParameterProblem) as caught:
        bind_parameters(workflow, {"nane": "x"}, source=ValueSource.JSON, unknown="reject", types=TYPES)

    assert caught.value.code == "INVALID_DATA"
    assert str(caught.value) == "Unknown parameter for workflow create_thing: parameter nane; did you mean 'name'?"


def test_a_thing_of_a_type_that_is_gone_is_invalid() -> None:
    workflow = build_workflow(Parameter(name="x", type=FieldType("order")))

    assert problem_of(workflow, {"x": THING})[2] == "Invalid value for parameter x: there is no data type 'order'"


def test_an_empty_form_field_counts_as_not_given_unless_it_is_text() -> None:
    workflow = build_workflow(
        Parameter(name="n", type=FieldType("number"), is_optional=True, default=7),
        Parameter(name="t", type=FieldType("text")),
    )

    assert bind(workflow, {"n": "", "t": ""}, ValueSource.TEXT) == {"n": 7, "t": ""}


@pytest.mark.parametrize(
    ("type_name", "value", "coerced"),
    [
        ("text", "héllo", "héllo"),
        ("number", 3, 3),
        ("number", 3.0, 3),
        ("number", -0.5, -0.5),
        ("number", 2**80, float(2**80)),
        ("boolean", False, False),
        ("date", "2022-12-22T09:45:37.369Z", "2022-12-22T09:45:37.369Z"),
        ("date", "2022-12-22T10:45:37+01:00", "2022-12-22T09:45:37.000Z"),
        ("date", "2022-12-22T09:45", "2022-12-22T09:45:00.000Z"),
        ("date", "2022-12-22", "2022-12-22T00:00:00.000Z"),
        ("date", 1453398788637, "2016-01-21T17:53:08.637Z"),
        ("date", "Wed Jan 13 2016 16:45:09 GMT-0500 (EST)", "2016-01-13T21:45:09.000Z"),
        ("date", "01/13/2016", "2016-01-13T00:00:00.000Z"),
        ("user", THING, THING),
        ("user", {"_id": THING, "email": "a@example.com"}, THING),
        ("geographic address", "Paris", {"address": "Paris"}),
        ("geographic address", {"lat": 1, "lng": 2.5}, {"lat": 1, "lng": 2.5}),
        ("file", "//cdn.example.com/f.pdf", "//cdn.example.com/f.pdf"),
        ("image", "https://example.com/i.png", "https://example.com/i.png"),
        ("list of number", [1, 2.0], [1, 2]),
        ("list of user", [], []),
        ("any", {"a": [1.0, None, "x", True]}, {"a": [1, None, "x", True]}),
    ],
)
def test_a_json_value_of_the_type_is_taken(type_name: str, value: JsonValue, coerced: JsonValue) -> None:
    result = coerce_value(field_type(type_name), value)

    assert result == coerced
    assert type(result) is type(coerced)


NUL = "the text holds a character that cannot be stored (NUL or half of a surrogate pair)"
DATE = "expected a date such as 2022-12-22T09:45:37.369Z, or milliseconds since 1970"
NUMBER = "expected a finite number of at most 1.8e308"
URL = "expected the URL of a file, starting with https://, http:// or //"


@pytest.mark.parametrize(
    ("type_name", "value", "problem"),
    [
        ("text", 3, "expected text, got number"),
        ("text", "a\x00b", NUL),
        ("text", "\ud800", NUL),
        ("number", "3", "expected a number, got text"),
        ("number", True, "expected a number, got boolean"),
        ("number", float("nan"), NUMBER),
        ("number", float("inf"), NUMBER),
        ("number", 10**400, NUMBER),
        ("boolean", 1, "expected true or false, got number"),
        ("boolean", "true", "expected true or false, got text"),
        ("date", "tomorrow", DATE),
        ("date", 1e30, DATE),
        ("date", float("nan"), DATE),
        ("date", "9999-12-31T23:59:59-10:00", "the date is not between the years 1 and 9999 in UTC"),
        ("date", True, "expected a date, got boolean"),
        ("user", "abc", "expected the id of a thing, such as 1700000000000x123456789012345678"),
        ("user", 17, "expected the id of a thing, got number"),
        ("geographic address", {"lat": 1}, "an address needs address, or both lat and lng"),
        ("geographic address", {"lat": 91, "lng": 0}, "lat: expected a number from -90 to 90"),
        ("geographic address", {"lat": "1", "lng": 0}, "lat: expected a number, got text"),
        ("geographic address", {"address": 1}, "address: expected text, got number"),
        ("geographic address", {"city": "Paris"}, "an address has address, lat and lng, not 'city'"),
        ("geographic address", 3, "expected an address (text, or an object of address, lat, lng), got number"),
        ("file", "f.pdf", URL),
        ("image", {"filename": "a"}, "expected the URL of a file, got object"),
        ("list of text", "a", "expected a list, got text"),
        ("list of text", ["a", None], "item 1: expected text, got null"),
        ("any", {"a": ["\x00"]}, NUL),
        ("any", {"a\x00": 1}, NUL),
        ("any", [float("inf")], NUMBER),
    ],
)
def test_a_json_value_of_another_type_is_refused(type_name: str, value: JsonValue, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        coerce_value(field_type(type_name), value)


@pytest.mark.parametrize(
    ("type_name", "value", "coerced"),
    [
        ("number", " 3 ", 3),
        ("number", "-2.50", -2.5),
        ("number", "1e3", 1000),
        ("boolean", "True", True),
        ("boolean", "yes", True),
        ("boolean", "no", False),
        ("date", "1453398788637", "2016-01-21T17:53:08.637Z"),
        ("date", "2016-01-21", "2016-01-21T00:00:00.000Z"),
        ("text", "3", "3"),
        ("list of number", "[1, 2]", [1, 2]),
        ("list of number", "1, 2", [1, 2]),
        ("list of number", ["1", "2"], [1, 2]),
        ("list of text", "a,b", ["a", "b"]),
        ("list of text", " ", []),
        ("geographic address", '{"lat": 1, "lng": 2}', {"lat": 1, "lng": 2}),
        ("geographic address", "Paris", {"address": "Paris"}),
        ("any", '{"a": 1}', {"a": 1}),
        ("any", "null", None),
        ("any", "free text", "free text"),
    ],
)
def test_text_is_read_as_the_type_asks(type_name: str, value: JsonValue, coerced: JsonValue) -> None:
    assert coerce_value(field_type(type_name), value, source=ValueSource.TEXT) == coerced


@pytest.mark.parametrize(
    ("type_name", "value"),
    [("number", "nan"), ("number", "1_0"), ("number", "٣"), ("boolean", "maybe"), ("number", "9" * 500)],
)
def test_text_that_does_not_read_as_the_type_is_refused(type_name: str, value: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        coerce_value(field_type(type_name), value, source=ValueSource.TEXT)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["lat", "lng", "_id"]), inner, max_size=3)
    ),
    max_leaves=6,
)
type_names = st.sampled_from(["text", "number", "boolean", "date", "geographic address", "file", "user", "any"])


@settings(deadline=None)
@given(type_names, st.booleans(), json_values, st.sampled_from(ValueSource))
def test_any_value_is_taken_or_refused_and_what_is_taken_stays_as_it_is(
    name: str, is_list: bool, value: JsonValue, source: ValueSource
) -> None:
    kind = FieldType(name, is_list)
    try:
        coerced = coerce_value(kind, value, source=source)
    except ValueError:
        return

    assert coerce_value(kind, coerced) == coerced


@given(
    st.sampled_from([FieldType(name, is_list=is_list) for name in (*ScalarType, "user") for is_list in (False, True)]),
    st.text('0123456789.eE+-xX,[]{}"truefalsyno /:TZ\x00 ', max_size=24)
    | st.sampled_from(["2022-12-22", "https://a.b", "1x1", "1e400"]),
)
def test_a_compiled_reader_reads_as_coerce_value_does(type: FieldType, text: str) -> None:
    def outcome(read: Callable[[str], object]) -> object:
        try:
            return read(text)
        except ValueError as error:
            return str(error)

    assert outcome(compile_text_reader(type)) == outcome(lambda text: coerce_value(type, text, source=ValueSource.TEXT))
