"""Which index is suggested for a slow search, and what `doctor` says of it."""

import pytest

from penstock.cli.doctor_checks import Verdict, judge_searches
from penstock.definitions.models import DataType
from penstock.things.index_advice import show_index, suggest_index
from penstock.things.slow_searches import Shape, SlowSearch
from tests.factories import build_app, build_type

ORDER = build_type(
    "order",
    {
        "number": "text",
        "total": "number",
        "placed": "date",
        "customer": "user",
        "Bill: to": "text",
        "tags": "list of text",
        "place": "geographic address",
        "stay": "date range",
    },
    unique=(("number",), ("customer", "placed")),
).model_copy(update={"place": "types/order.yaml:1"})


def shape(*where: tuple[str, str], sort: tuple[str, ...] = ()) -> Shape:
    return Shape("live", "order", where, sort)


def declaring(*indexes: tuple[str, ...], words: tuple[str, ...] = ()) -> DataType:
    return ORDER.model_copy(update={"indexes": indexes, "words": words})


@pytest.mark.parametrize(
    ("asked", "entry"),
    [
        (shape(("total", "equals")), "[total, Created Date]"),
        (shape(("total", "in"), ("customer", "equals")), "[customer, total, Created Date]"),
        (shape(("total", "equals"), ("placed", "greater than")), "[total, placed]"),
        (shape(("total", "equals"), sort=("placed",)), "[total, placed]"),
        (shape(("total", "equals"), sort=("total",)), "total"),
        (shape(("total", "equals"), sort=("_random_sorting",)), "total"),
        (shape(("Bill: to", "equals"), sort=("Bill: to",)), '"Bill: to"'),
        (shape(("total", "greater than"), sort=("placed",)), "total"),
        (shape(sort=("placed",)), "placed"),
        (shape(("tags", "contains")), "tags"),
        (shape(("place", "geographic_search")), "place"),
        (shape(("number", "text contains")), "{words: number}"),
        # These no index serves, or one that is there already.
        (shape(), None),
        (shape(("total", "not equal")), None),
        (shape(("total", "is_empty")), None),
        (shape(("tags", "equals"), ("stay", "equals")), None),
        (shape(("_id", "in"), ("total", "equals")), None),
        (shape(("number", "equals"), ("total", "equals")), None),
        (shape(("customer", "equals"), ("placed", "greater than")), None),
        (shape(("no longer there", "equals")), None),
    ],
)
def test_the_fields_of_a_slow_search_are_suggested(asked: Shape, entry: str | None) -> None:
    advice = suggest_index(ORDER, asked)
    assert (None if advice is None else show_index(advice)) == entry


@pytest.mark.parametrize(
    ("data_type", "asked"),
    [
        (declaring(("total",)), shape(("total", "greater than"))),
        (declaring(("total", "customer", "placed")), shape(("customer", "equals"), ("total", "in"), sort=("placed",))),
        (declaring(("tags",)), shape(("tags", "contains"))),
        (declaring(("place",)), shape(("place", "geographic_search"))),
        (declaring(words=("number",)), shape(("number", "text contains"))),
    ],
)
def test_an_index_that_is_declared_is_not_suggested(data_type: DataType, asked: Shape) -> None:
    assert suggest_index(ORDER, asked) is not None
    assert suggest_index(data_type, asked) is None


def test_doctor_names_the_line_to_write() -> None:
    kind = declaring(("tags",), words=("number",))
    slow = [
        SlowSearch(shape(("total", "greater than")), 12, 6.0, 1.25),
        SlowSearch(shape(("total", "less than"), sort=("total",)), 3, 1.0, 0.5),
        SlowSearch(shape(("place", "geographic_search")), 2, 1.0, 0.5),
        SlowSearch(Shape("development", "order", (("total", "equals"),), ()), 9, 1.0, 0.5),
        SlowSearch(Shape("live", "gone", (("total", "equals"),), ()), 9, 1.0, 0.5),
    ]
    (finding,) = judge_searches(slow, {"live": build_app(kind)})
    assert finding.verdict is Verdict.WARNING
    assert finding.found == "12 searches of order in live (total greater than) took 0.50 s on average, 1.25 s at most"
    assert finding.advice == "write `indexes: [tags, {words: number}, total]` in types/order.yaml, and deploy"


def test_doctor_says_when_no_index_is_missing() -> None:
    (nothing,) = judge_searches([], {})
    (slow,) = judge_searches([SlowSearch(shape(("total", "not equal")), 9, 9, 1)], {"live": build_app(ORDER)})
    assert (nothing.verdict, nothing.found) == (Verdict.OK, "none was slow")
    assert (slow.verdict, slow.found) == (Verdict.OK, "some were slow, and no index is missing for them")
