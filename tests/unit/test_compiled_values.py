"""What is compiled once per type or template gives what is computed each time."""

import gc
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.definitions.derived import derived_once
from penstock.definitions.models import DataField, DataType, FieldType, ScalarType
from penstock.definitions.options import Options
from penstock.definitions.values import coerce_value, compile_coercion, format_date
from penstock.errors import Permanent
from penstock.expressions import compile_expression, compile_template
from penstock.things.values import check_values

TYPES = [
    *(FieldType(name, is_list) for name in ScalarType for is_list in (False, True)),
    FieldType("customer"),
    FieldType(ScalarType.TEXT, options=Options("sizes", ("small", "large"))),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["small", "2022-12-22", "1x2"])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


@given(st.sampled_from(TYPES), VALUES)
def test_a_compiled_coercion_coerces_as_any(type: FieldType, value: JsonValue) -> None:
    assert _outcome(lambda: compile_coercion(type)(value)) == _outcome(lambda: coerce_value(type, value))


@given(VALUES, st.sampled_from(["params", "params.a", "params.a.b"]))
def test_a_path_in_a_template_gives_what_its_expression_gives(value: JsonValue, path: str) -> None:
    template = compile_template({"first": 1, "read": f"${{{path}}}", "last": [f"${{{path}}}", 2]})
    scopes: list[dict[str, JsonValue]] = [
        {},
        {"params": value},
        {"params": {"a": value}},
        {"params": {"a": {"b": value}}},
    ]
    for scope in scopes:
        read = compile_expression(path).evaluate(scope)
        rendered = template.evaluate(scope)
        assert repr(rendered) == repr({"first": 1, "read": read, "last": [read, 2]})


@given(st.datetimes(timezones=st.just(UTC)) | st.datetimes(timezones=st.timezones()))
@example(datetime.min.replace(tzinfo=UTC))
@example(datetime.max.replace(tzinfo=UTC))
@example(datetime(2026, 1, 31, 9, tzinfo=UTC))
@example(datetime(2026, 1, 31, 9, microsecond=999, tzinfo=UTC))
def test_dates_are_written_to_the_millisecond_in_utc(moment: datetime) -> None:
    try:
        expected = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return
    assert format_date(moment) == expected


def test_members_keep_their_order_where_only_some_are_expressions() -> None:
    rendered = compile_template({"b": "${params.n}", "a": 1, "c": "${params.n}"}).evaluate({"params": {"n": 2}})
    assert isinstance(rendered, dict)
    assert list(rendered.items()) == [("b", 2), ("a", 1), ("c", 2)]


def test_what_was_rendered_before_does_not_change() -> None:
    template = compile_template({"n": "${params.n}", "list": [0, "${params.n}"]})
    first = template.evaluate({"params": {"n": 1}})
    template.evaluate({"params": {"n": 2}})
    assert first == {"n": 1, "list": [0, 1]}


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ({"n": None, "tags": [], "any": []}, {"n": None, "tags": None, "anything": None}),
        ({"n": 2.0, "any": 2.0, "numbers": [1.0, 2.5]}, {"n": 2, "anything": 2, "numbers": [1, 2.5]}),
        ({"Slug": "One Two"}, {"slug": "one-two"}),
    ],
)
def test_values_come_into_the_form_of_their_columns(values: dict[str, JsonValue], row: dict[str, JsonValue]) -> None:
    assert check_values(_kind(), values) == row


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(Permanent, match="type 'order' has no field 'tag' that can be written; did you mean 'tags'"):
        check_values(_kind(), {"tag": "x"})


def test_what_is_derived_is_forgotten_with_its_definition() -> None:
    derived: list[str] = []

    @derived_once
    def derive(kind: DataType) -> int:
        derived.append(kind.name)
        return len(kind.fields)

    kinds = [_kind() for _ in range(3)]
    assert [derive(kind) for kind in (*kinds, *kinds)] == [4] * 6
    assert len(derived) == 3
    del kinds
    gc.collect()
    for _ in range(50):  # one of them gets an id that was used before
        derive(_kind().model_copy(update={"fields": ()}))
    assert len(derived) == 53


def _kind() -> DataType:
    fields = (
        DataField(name="n", type=FieldType(ScalarType.NUMBER), column="n"),
        DataField(name="tags", type=FieldType(ScalarType.TEXT, is_list=True), column="tags"),
        DataField(name="any", type=FieldType(ScalarType.ANY), column="anything"),
        DataField(name="numbers", type=FieldType(ScalarType.NUMBER, is_list=True), column="numbers"),
    )
    return DataType(name="order", fields=fields)


def _outcome(work: Callable[[], JsonValue]) -> str:
    try:
        return repr(work())
    except ValueError as error:
        return f"ValueError: {error}"
