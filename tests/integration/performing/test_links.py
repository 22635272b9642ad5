"""`wait_for` with `link: true`: earlier steps see the link, and its answer is what later ones see."""

import re

import pytest

from penstock.domain.approval_links import LinkTarget, read_link
from penstock.runs.approvals import LinkState, answer_link, find_asked
from penstock.store.installation import get_lineage_key
from tests.integration.executing import ENVIRONMENT, House
from tests.site import read_app

APP = """
workflow: decide
steps:
  - create: thing
    set: {name: "${steps.ask.link}"}
  - id: ask
    wait_for: approve_order
    timeout: 7d
    link: true
    schema: {approved: boolean, comment: {type: text, optional: true, label: Anything to add?}}
  - return: {approved: "${steps.ask.approved}"}
---
workflow: around
steps:
  - id: inner
    trigger: decide
  - return: {inner: "${steps.inner.approved}"}
"""


@pytest.mark.parametrize(
    ("workflow", "path", "member"), [("decide", "ask", "approved"), ("around", "inner/ask", "inner")]
)
async def test_the_link_is_seen_before_the_wait_and_its_answer_behind_it(
    house: House, workflow: str, path: str, member: str
) -> None:
    await house.deploy(APP)
    async with house.services():
        run_id = await house.start(workflow)
        await house.ended(run_id, "waiting")
        ((link,),) = [(row["name"],) for row in await house.things()]
        async with house.database.connection() as conn:
            target = read_link(await get_lineage_key(conn), ENVIRONMENT, link.rpartition("/")[2])
            assert target == LinkTarget(ENVIRONMENT, run_id, path)
            asked = await find_asked(conn, target)
        assert (asked.state, asked.name) == (LinkState.OPEN, "approve_order")
        assert asked.schema == {
            "approved": "boolean", "comment": {"type": "text", "optional": True, "label": "Anything to add?"},
        }  # fmt: skip
        woken = await house.database.in_transaction(lambda conn: answer_link(conn, target, {"approved": True}))
        await house.publisher.dispatch(woken)
        assert (await house.ended(run_id, "succeeded"))["result"] == {member: True}
        assert await house.database.in_transaction(lambda conn: answer_link(conn, target, {"approved": False})) == []


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("    link: true\n", "", "the step 'ask' does not come before this one"),
        ("${steps.ask.link}", "${steps.ask.lnk}", "lnk"),
        (
            "  - return: {approved",
            "  - each: [1]\n    steps:\n      - {id: a, wait_for: b, link: true}\n  - return: {approved",
            "a link cannot lead to a step inside another one",
        ),
        ("approved: boolean,", "approved: yesno,", "the type of a field is one of"),
    ],
)
def test_mistakes_are_named(old: str, new: str, part: str) -> None:
    type_ = "type: thing\nfields: {name: text}\n"
    with pytest.raises(AssertionError, match=re.escape(part)):
        read_app({"app.yaml": "app: house\n", "types/thing.yaml": type_, "workflows/a.yaml": APP.replace(old, new, 1)})
