"""Random rules, users and searches: nothing that the rules hide shows, and nothing else is missing."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import PrivacyRule
from penstock.deploying import deploy
from penstock.things.bulk import Aggregate, aggregate_things
from penstock.things.clauses import ConstraintProblem
from penstock.things.constraints import Restricted
from penstock.things.ordering import Order
from penstock.things.privacy import EVERYTHING, STRANGER, Viewer
from penstock.things.records import Thing, Window, count_things, create_things, find_things, get_thing, show_things
from tests.factories import build_app
from tests.integration.privacy.documents import (
    ADA,
    BERLIN,
    DOCUMENT,
    DOCUMENTS,
    FIJI,
    LIVE,
    NAMES,
    PARIS,
    USERS,
    granting,
    rule,
    seen,
    with_rules,
)

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = ("creator", "owner", "member", "team", "small", "senior", "signed in", "senior of team", "everyone")
RULES = st.lists(
    st.builds(
        rule,
        st.sampled_from(KINDS),
        find=st.booleans(),
        view=st.one_of(st.just("all"), st.lists(st.sampled_from(NAMES), max_size=3, unique=True)),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one.name,
)
USER = st.sampled_from([*USERS.values(), None])


MEETS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": lambda value, wanted: value == wanted,
    "not equal": lambda value, wanted: value != wanted,
    "in": lambda value, wanted: value in wanted,
    "not in": lambda value, wanted: value not in wanted,
    "is_empty": lambda value, _: value is None,
    "is_not_empty": lambda value, _: value is not None,
    "greater than": lambda value, wanted: value is not None and value > wanted,
    "less than": lambda value, wanted: value is not None and value < wanted,
    "contains": lambda value, wanted: value is not None and wanted in value,
    "not contains": lambda value, wanted: value is None or wanted not in value,
    "text contains": lambda value, wanted: value == wanted,
    "not text contains": lambda value, wanted: value != wanted,
    "geographic_search": lambda value, wanted: value is not None and value == wanted["origin_address"],
}
TEXTS = st.sampled_from(["plan", "note", "red", "blue", "zz"])
PEOPLE = st.sampled_from(list(USERS))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "title": TEXTS, "team": TEXTS, "size": st.integers(0, 5), "owner": PEOPLE, "members": PEOPLE, "Created By": PEOPLE,
    "spot": st.sampled_from([{"range": 20, "origin_address": place} for place in (PARIS, BERLIN, FIJI)]),
}  # fmt: skip


@st.composite
def constraints(draw: st.DrawFn) -> dict[str, Any]:
    key = draw(st.sampled_from(list(VALUES)))
    kinds = ["is_empty", "is_not_empty"]
    if key == "spot":
        kinds += ["geographic_search"]
    else:
        kinds += ["contains", "not contains"] if key == "members" else ["equals", "not equal", "in", "not in"]
    kinds += ["text contains", "not text contains"] if key == "title" else []
    kinds += ["greater than", "less than"] if key == "size" else []
    kind = draw(st.sampled_from(kinds))
    value = draw(st.lists(VALUES[key], max_size=2)) if kind in {"in", "not in"} else draw(VALUES[key])
    return {"key": key, "constraint_type": kind, "value": value}


@pytest.fixture
async def documents(module_conn: Connection) -> list[Thing]:
    """The documents as they are stored, in order of their ids."""
    await deploy(module_conn, environment=LIVE, app=build_app(DOCUMENT))
    await module_conn.execute("TRUNCATE live.document")
    await create_things(module_conn, environment=LIVE, data_type=DOCUMENT, things=DOCUMENTS)
    return (await find_things(module_conn, environment=LIVE, data_type=DOCUMENT, order=Order("_id"))).results


def findable(rules: Sequence[PrivacyRule], things: list[Thing], user: Thing | None) -> list[Thing]:
    """What is found, as it is shown."""
    return [seen(rules, thing, user) for thing in things if any(one.find for one in granting(rules, thing, user))]


def _comparable(value: JsonValue) -> tuple[int, str]:
    return (value, "") if isinstance(value, int) else (0, str(value))


def _sees(rules: Sequence[PrivacyRule], thing: Thing, user: Thing | None, key: str) -> bool:
    return any(one.view == "all" or key in one.view for one in granting(rules, thing, user))


@SLOW
@given(rules=RULES, user=USER)
async def test_what_is_found_and_shown_is_what_the_rules_say(
    module_conn: Connection, documents: list[Thing], rules: list[PrivacyRule], user: Thing | None
) -> None:
    data_type, viewer = with_rules(*rules), Viewer(user=user)
    everything = Restricted(None, viewer)
    page = await find_things(
        module_conn, environment=LIVE, data_type=data_type, where=everything, order=Order("_id"),
        window=Window(2, with_remaining=True),
    )  # fmt: skip
    expected = findable(rules, documents, user)
    assert page.results == expected[:2]
    assert page.remaining == max(len(expected) - 2, 0)
    assert await count_things(module_conn, environment=LIVE, data_type=data_type, where=everything) == len(expected)
    ids = {thing["_id"] for thing in expected}
    for thing in documents:
        shown = await get_thing(module_conn, environment=LIVE, data_type=data_type, id=str(thing["_id"]), viewer=viewer)
        assert shown == (seen(rules, thing, user) if thing["_id"] in ids else None)
    shown_all = await show_things(module_conn, environment=LIVE, data_type=data_type, things=documents, viewer=viewer)
    assert shown_all == [seen(rules, thing, user) for thing in documents]


@SLOW
@given(rules=RULES, user=USER, wanted=st.lists(constraints(), min_size=1, max_size=2), drops=st.booleans())
async def test_a_constraint_says_nothing_about_what_is_hidden(
    module_conn: Connection,
    documents: list[Thing],
    rules: list[PrivacyRule],
    user: Thing | None,
    wanted: list[dict[str, Any]],
    drops: bool,
) -> None:
    data_type = with_rules(*rules)
    where = Restricted([*wanted], Viewer(user=user), drops_hidden=drops)
    visible = [key for key in VALUES if any(_sees(rules, thing, user, key) for thing in documents)]
    try:
        page = await find_things(
            module_conn, environment=LIVE, data_type=data_type, where=where, order=Order("_id"), window=Window(10)
        )
    except ConstraintProblem:
        assert not drops
        assert any(one["key"] not in visible for one in wanted)
        return

    def meets(thing: Thing) -> bool:
        return all(
            MEETS[one["constraint_type"]](thing.get(one["key"]), one["value"])
            if _sees(rules, thing, user, one["key"])
            else drops
            for one in wanted
        )

    ids = {thing["_id"] for thing in documents if meets(thing)}
    assert page.results == [thing for thing in findable(rules, documents, user) if thing["_id"] in ids]


@SLOW
@given(rules=RULES, user=USER, key=st.sampled_from(["title", "size", "owner", "Created Date"]), falls=st.booleans())
async def test_the_order_and_the_pages_say_nothing_about_what_is_hidden(
    module_conn: Connection,
    documents: list[Thing],
    rules: list[PrivacyRule],
    user: Thing | None,
    key: str,
    falls: bool,
) -> None:
    data_type, found, after = with_rules(*rules), [], None
    try:
        for _ in range(len(documents) + 1):
            page = await find_things(
                module_conn, environment=LIVE, data_type=data_type, where=Restricted(None, Viewer(user=user)),
                order=Order(key, falls), window=Window(1, after),
            )  # fmt: skip
            found += page.results
            after = page.after
            if after is None:
                break
    except ConstraintProblem:
        assert not any(key in shown for shown in findable(rules, documents, user))
        return
    expected = findable(rules, documents, user)
    with_value = sorted((thing for thing in expected if key in thing), key=lambda thing: str(thing["_id"]))
    with_value.sort(key=lambda thing: _comparable(thing[key]), reverse=falls)
    assert found == [*with_value, *(thing for thing in expected if key not in thing)]


@SLOW
@given(rules=RULES, user=USER, by=st.sampled_from(["team", "title"]))
async def test_sums_and_groups_take_what_is_hidden_for_empty(
    module_conn: Connection, documents: list[Thing], rules: list[PrivacyRule], user: Thing | None, by: str
) -> None:
    try:
        rows = await aggregate_things(
            module_conn, environment=LIVE, data_type=with_rules(*rules), where=Restricted(None, Viewer(user=user)),
            aggregate=Aggregate((("sum", "size"),), (by,)), seconds=10,
        )  # fmt: skip
    except ConstraintProblem:
        assert not all(any(_sees(rules, thing, user, key) for thing in documents) for key in (by, "size"))
        return
    groups: dict[JsonValue, list[int]] = {}
    for thing in findable(rules, documents, user):
        size = thing.get("size", 0)
        assert isinstance(size, int)
        group = thing.get(by)
        assert group is None or isinstance(group, str)
        groups.setdefault(group, []).append(size)
    assert {(row[by], row["count"], row["sum_size"]) for row in rows} == {
        (group, len(sizes), sum(sizes)) for group, sizes in groups.items()
    }


async def test_nobody_is_the_owner_of_what_has_none(module_conn: Connection, documents: list[Thing]) -> None:
    rules = with_rules(rule("creator", find=True, view="all"), rule("team", find=True, view="all"))
    for viewer in (STRANGER, Viewer(user={"_id": None, "team": None}), Viewer(user={})):
        where = Restricted(None, viewer)
        assert await count_things(module_conn, environment=LIVE, data_type=rules, where=where) == 0


async def test_a_rule_that_cannot_be_decided_does_not_hold(module_conn: Connection, documents: list[Thing]) -> None:
    for condition in ({"size": "${user.email}"}, {"owner": "${[user]}"}, {"title": "${user.email + 1}"}):
        data_type = with_rules(PrivacyRule(name="odd", when=condition, find=True, view="all"))
        where = Restricted(None, Viewer(user=USERS[ADA]))
        assert await count_things(module_conn, environment=LIVE, data_type=data_type, where=where) == 0
    for users in ("user.email", "user.email + 1", "user.level"):
        data_type = with_rules(PrivacyRule(name="odd", users=users, find=True, view="all"))
        where = Restricted(None, Viewer(user=USERS[ADA]))
        assert await count_things(module_conn, environment=LIVE, data_type=data_type, where=where) == 0


async def test_those_who_see_everything_see_everything(module_conn: Connection, documents: list[Thing]) -> None:
    data_type, where = with_rules(rule("everyone")), Restricted(None, EVERYTHING)
    page = await find_things(module_conn, environment=LIVE, data_type=data_type, where=where, order=Order("_id"))
    assert page.results == documents
