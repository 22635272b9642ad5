"""Values of parameters, as Bubble's API takes them: dates, addresses, things and lists, in JSON and in text."""

import json
from urllib.parse import urlencode

import pytest
from pydantic import JsonValue

from penstock.definitions.models import App, DataType, FieldType, Parameter, Workflow
from penstock_ingress.rules.parameters import read_parameters
from penstock_ingress.rules.replies import Refusal
from penstock_ingress.rules.uploads import Uploads

APP = App(name="a", types={"order": DataType(name="order")})
ID = "1700000000000x123456789012345678"
FORM = "application/x-www-form-urlencoded"


def take(type: FieldType, body: bytes, content_type: str) -> JsonValue:
    workflow = Workflow(name="take", parameters=(Parameter(name="given", type=type),))
    return read_parameters(workflow, APP, {}, body, content_type, Uploads("//here"))["given"]


def from_json(type: FieldType, value: JsonValue) -> JsonValue:
    return take(type, json.dumps({"given": value}).encode(), "application/json")


def from_form(type: FieldType, value: str) -> JsonValue:
    return take(type, urlencode({"given": value}).encode(), FORM)


def refusal_of(type: FieldType, value: JsonValue) -> JsonValue:
    with pytest.raises(Refusal) as refused:
        from_json(type, value)
    document: JsonValue = json.loads(refused.value.reply.body)
    return document


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Wed Jan 13 2016", "2016-01-13T00:00:00.000Z"),
        ("01/13/2016", "2016-01-13T00:00:00.000Z"),
        ("Wed Jan 13 2016 16:45:09 GMT-0500 (EST)", "2016-01-13T21:45:09.000Z"),
        ("1453398788637", "2016-01-21T17:53:08.637Z"),
        ("2016-01-13", "2016-01-13T00:00:00.000Z"),
        ("20160113", "2016-01-13T00:00:00.000Z"),
        ("2016-01-13T16:45:09-05:00", "2016-01-13T21:45:09.000Z"),
        ("Wed, 13 Jan 2016 16:45:09 GMT", "2016-01-13T16:45:09.000Z"),
        ("Wed, 13 Jan 2016 16:45:09 -0500", "2016-01-13T21:45:09.000Z"),
        ("Wed Jan 13 2016 16:45:09", "2016-01-13T16:45:09.000Z"),
        ("Jan 13, 2016", "2016-01-13T00:00:00.000Z"),
        ("January 13, 2016 4:45 PM", "2016-01-13T16:45:00.000Z"),
        ("13 January 2016", "2016-01-13T00:00:00.000Z"),
        ("2016/01/13 16:45", "2016-01-13T16:45:00.000Z"),
        ("01/13/2016 4:45 pm", "2016-01-13T16:45:00.000Z"),
    ],
)
def test_dates_come_in_many_forms_and_leave_in_one(written: str, read: str) -> None:
    assert from_json(FieldType("date"), written) == read
    assert from_form(FieldType("date"), written) == read


def test_milliseconds_are_a_number_in_json_too() -> None:
    assert from_json(FieldType("date"), 1453398788637) == "2016-01-21T17:53:08.637Z"
    assert from_json(FieldType("date", is_list=True), [0, "01/13/2016"]) == [
        "1970-01-01T00:00:00.000Z",
        "2016-01-13T00:00:00.000Z",
    ]


@pytest.mark.parametrize(
    "written", ["tomorrow", "13/01/2016", "Wed Jan 32 2016", "9" * 17, "9" * 30, True, {}, "x" * 99]
)
def test_what_is_not_a_date_is_invalid_data(written: JsonValue) -> None:
    message = "Invalid value for parameter given: expected a date"
    refused = refusal_of(FieldType("date"), written)
    assert isinstance(refused, dict)
    assert isinstance(refused["body"], dict)
    assert (refused["statusCode"], refused["body"]["status"]) == (400, "INVALID_DATA")
    assert str(refused["body"]["message"]).startswith((message, "Invalid value for parameter given: the date is not"))


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("1 Main Street", {"address": "1 Main Street"}),
        ({"address": "1 Main Street", "lat": 1, "lng": 2.5}, {"address": "1 Main Street", "lat": 1, "lng": 2.5}),
        ({"lat": 1, "lng": 2}, {"lat": 1, "lng": 2}),
    ],
)
def test_an_address_is_a_text_or_an_object(given: JsonValue, read: JsonValue) -> None:
    assert from_json(FieldType("geographic address"), given) == read


def test_an_address_in_a_form_may_be_json() -> None:
    assert from_form(FieldType("geographic address"), '{"lat": 1, "lng": 2}') == {"lat": 1, "lng": 2}


@pytest.mark.parametrize("given", [{}, {"lat": 1}, {"lat": 91, "lng": 0}, {"street": "a"}, 3])
def test_half_an_address_is_invalid_data(given: JsonValue) -> None:
    assert "INVALID_DATA" in str(refusal_of(FieldType("geographic address"), given))


def test_things_are_their_ids() -> None:
    assert from_json(FieldType("order"), ID) == ID
    assert from_json(FieldType("order"), {"_id": ID, "number": 1}) == ID
    assert from_json(FieldType("order", is_list=True), [ID, ID]) == [ID, ID]
    assert from_form(FieldType("order", is_list=True), f"{ID}, {ID}") == [ID, ID]
    assert "INVALID_DATA" in str(refusal_of(FieldType("order"), "17"))
