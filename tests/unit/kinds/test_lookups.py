"""What expressions read through references is checked, and rewritten to read what is looked up before."""

import pytest

from penstock.expressions.inference import Mismatch, infer, infer_rewriting
from penstock.expressions.kinds import DATE, TEXT, Kind, id_of, list_of, object_of
from penstock.expressions.lookups import THINGS

USER = object_of({"_id": id_of("user"), "email": TEXT, "boss": id_of("user"), "Created Date": DATE}, "user")
ORDER = object_of({"_id": id_of("order"), "number": TEXT, "customer": id_of("user")}, "order")
THINGS_OF = {"user": USER, "order": ORDER}
NAMES = {"params": object_of({"order": id_of("order"), "orders": list_of(id_of("order"))})}


@pytest.mark.parametrize(
    ("source", "kind", "ids"),
    [
        ("params.order.number", TEXT, [("order", 1, "params.order")]),
        ("params.order['customer']['Created Date']", DATE, [("order", 1, "params.order"), ("user", 2, "…customer']")]),
        ("params.orders[0].number", TEXT, [("order", 1, "params.orders[0]")]),
        ("map(params.orders, #.number)", list_of(TEXT), [("order", 1, "map(params.orders, #)")]),
        ("map(params.orders as o, o.number)", list_of(TEXT), [("order", 1, "map(params.orders as o, o)")]),
        ("params.order.number + params.order.number", TEXT, [("order", 1, "params.order")]),
        ("params.order", id_of("order"), []),
        ("`no ${params.order.number}!`", TEXT, [("order", 1, "params.order")]),
    ],
)
def test_it_knows_what_has_to_be_looked_up(source: str, kind: Kind, ids: list[tuple[str, int, str]]) -> None:
    found, rewriting = infer_rewriting(source, NAMES, THINGS_OF)
    assert found == kind
    lookups = () if rewriting is None else rewriting.lookups
    assert [(one.type, one.level) for one in lookups] == [(name, level) for name, level, _ in ids]
    for lookup, (_, _, text) in zip(lookups, ids, strict=True):
        assert lookup.ids.endswith(text.removeprefix("…")) if text.startswith("…") else lookup.ids == text
    if rewriting is not None:
        assert all(f"{THINGS}.{one.key}[" in rewriting.text() for one in lookups)


def test_a_member_that_no_thing_has_is_refused_at_any_depth() -> None:
    with pytest.raises(Mismatch) as caught:
        infer("params.order.customer.boss.emial", NAMES, THINGS_OF)
    assert (caught.value.reason, caught.value.hint) == ("'user' has no field 'emial'", "did you mean 'email'?")
