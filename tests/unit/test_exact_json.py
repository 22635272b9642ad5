"""JSON that passes through keeps its digits, and becomes storable in one place."""

import copy
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import exact_json
from penstock.exact_json import ExactNumber
from penstock.storable import is_storable, storable_text

NUMBERS = (
    "9007199254740993",
    "-9007199254740993",
    "18446744073709551616",
    "123456789012345678901234567890",
    "0.1234567890123456789",
    "-12345678901234567.25",
    "1.234567890123456789e-7",
    "9" * 300,
)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("frame", ["%s", "[%s]", "[1,%s]", '{"id":%s}', '{"id": %s}', '[{"a":[\n%s]}]'])
def test_a_number_keeps_its_digits(number: str, frame: str) -> None:
    document = frame % number
    for form in (document, document.encode()):
        written = exact_json.dumps(exact_json.loads(form)).decode()
        assert written == document.replace(" ", "").replace("\n", "")


@pytest.mark.parametrize("number", ["0.1", "0.30000000000000004", "1e22", "1.5E300", "48.858370000000001", "1e-7"])
def test_what_a_float_holds_is_a_float(number: str) -> None:
    value = exact_json.loads(f"[{number}, 12345678901234567890]")
    assert isinstance(value, list)
    if number != "48.858370000000001":
        assert type(value[0]) is float
    assert value[0] == float(number)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400])
def test_a_number_beyond_a_float_is_refused_from_outside_and_read_from_the_database(number: str) -> None:
    with pytest.raises(exact_json.JSONDecodeError):
        exact_json.loads(number)
    stored = exact_json.loads_stored(f"[{number}]".encode())
    assert exact_json.dumps(stored).decode() == f"[{number}]"


@pytest.mark.parametrize(
    ("document", "has_one"),
    [
        (b'{"id":"evt_1234567890123456789","n":1}', False),
        (b'{"id":"1234567890123456789"}', False),
        (b'{"id":"evt_1234567890123456789","n":1234567890123456789}', True),
        (b'["a 1234567890123456789"]', True),  # it errs on the safe side
        (b"-1234567890123456789", True),
        (b"1234567890123456789", True),
    ],
)
def test_digits_in_a_text_do_not_cost_a_second_reading(document: bytes, has_one: bool) -> None:
    assert exact_json.has_long_number(document) is has_one


PIECES = st.sampled_from(["1", "12345678", "1234567890123456", "0.5", "-", ",", ":", "[", " ", "\n", '"', "e", "_"])


@given(st.lists(PIECES, max_size=30).map("".join))
def test_no_long_number_is_overlooked(document: str) -> None:
    assert exact_json.has_long_number(document) or not re.search(r"(?:^|[:,\[\s])-?[\d.]{16}", document)


def test_an_exact_number_survives_copying_and_is_shown_with_its_digits() -> None:
    number = ExactNumber("0.1234567890123456789")
    for copied in (copy.deepcopy(number), pickle.loads(pickle.dumps(number))):
        assert (str(copied), f"{copied}", type(copied)) == (number.text, number.text, ExactNumber)


def test_text_in_json_becomes_storable() -> None:
    value = {"a\x00": ["b\ud800", "é", 2**70]}
    assert exact_json.loads(exact_json.dumps(value)) == {"a\x00": ["b�", "é", 2**70]}
    assert exact_json.loads(exact_json.dumps_storable(value)) == {"a�": ["b�", "é", 2**70]}
    assert exact_json.dumps_storable(["\\u0000"]) == rb'["\\u0000"]'


def test_what_cannot_be_written_is_a_type_error() -> None:
    circle: list[object] = []
    circle.append(circle)
    for value in (circle, {1: object()}, 10**400, {"a": object()}):
        with pytest.raises(TypeError):
            exact_json.dumps(value)


def test_nesting_beyond_the_decoder_is_an_error_with_long_numbers_too() -> None:
    with pytest.raises(exact_json.JSONDecodeError):
        exact_json.loads("[" * 2000 + "12345678901234567890" + "]" * 2000)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@given(_VALUES)
def test_what_is_written_is_read_back(value: object) -> None:
    assert exact_json.loads(exact_json.dumps(value)) == value


@given(st.text(alphabet=st.characters(codec=None)))
def test_storable_text_is_storable_and_of_the_same_length(text: str) -> None:
    made = storable_text(text)
    assert is_storable(made)
    assert len(made) == len(text)
    assert (made is text) == is_storable(text)


@given(st.lists(st.integers(min_value=10**15, max_value=10**40) | st.text('0123456789.,: x"', max_size=40)))
def test_a_long_number_is_always_noticed(items: list[int | str]) -> None:
    expected = any(isinstance(item, int) and item >= 10**15 for item in items)
    found = exact_json.has_long_number(exact_json.dumps(items))
    assert found or not expected
