"""Links of `wait_for` over HTTP: looked at any number of times, used once, and kind to those who come too late."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

import pytest

from penstock.domain.approval_links import LinkTarget, sign_link, write_url
from penstock.store.installation import get_lineage_key
from tests.integration.ingress import Ingress, running_ingress, write_app

APP = "workflow: decide\nsteps:\n  - id: ask\n    wait_for: approve_order\n    link: true\n"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SCHEMA = {"approved": "boolean", "amount": {"type": "number", "optional": True}, "why": "text"}


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    """An ingress with the app, and neither scheduler nor executor."""
    async with running_ingress(database_url, amqp_url, write_app(tmp_path, more=APP)) as running:
        yield running


async def ask(ingress: Ingress, *, waits: bool = True) -> tuple[UUID, str]:
    """A run, which waits for an answer as an executor has it wait, and the link's path."""
    begun = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "decide", "after": "1h"})
    run = UUID(str(begun.json["id"]))
    async with ingress.database.connection() as conn:
        key = await get_lineage_key(conn)
    if waits:
        await begin_to_wait(ingress, run)
    return run, write_url("", "live", sign_link(key, LinkTarget("live", run, "ask")))


async def begin_to_wait(ingress: Ingress, run: UUID) -> None:
    await ingress.fetch("UPDATE penstock.runs SET state = 'waiting', attempt = 1 WHERE id = $1", run)
    await ingress.fetch(
        """
        INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at)
        VALUES ($1, 'ask', 'wait_for', 'waiting', 1, clock_timestamp())
        """,
        run,
    )
    await ingress.fetch(
        """
        INSERT INTO penstock.waits (run_id, environment, step, signal, form)
        VALUES ($1, 'live', 'ask', 'approve_order', jsonb_build_object('schema', $2::jsonb))
        """,
        run,
        SCHEMA,
    )


def form(**given: str) -> bytes:
    return urlencode(given).encode()


async def test_to_look_changes_nothing_and_to_send_answers(ingress: Ingress) -> None:
    run, path = await ask(ingress)
    for _ in range(3):
        assert (await ingress.send("HEAD", path)).status == 200
    looked = await ingress.send("GET", path)
    assert looked.status == 200
    assert "<h1>Approve order</h1>" in looked.body.decode()
    assert "script-src" not in looked.headers["content-security-policy"]
    wrong = await ingress.send("POST", path, data=form(approved="true", amount="much", why=""), headers=FORM)
    assert wrong.status == 422
    assert 'value="much"' in wrong.body.decode()
    assert await ingress.fetchval("SELECT state FROM penstock.runs WHERE id = $1", run) == "waiting"
    sent = await ingress.send("POST", path, data=form(approved="true", why="a <b>", more="x"), headers=FORM)
    assert (sent.status, "Thank you" in sent.body.decode()) == (200, True)
    (step,) = await ingress.fetch("SELECT outcome, result FROM penstock.steps WHERE run_id = $1", run)
    assert (step["outcome"], step["result"]) == ("succeeded", {"approved": True, "amount": None, "why": "a <b>"})
    for method in ("GET", "POST"):
        late = await ingress.send(method, path, data=form(why="x") if method == "POST" else None, headers=FORM)
        assert (late.status, "no longer valid" in late.body.decode()) == (410, True)


async def test_of_a_hundred_who_answer_at_once_one_succeeds(ingress: Ingress) -> None:
    run, path = await ask(ingress)
    answers = await asyncio.gather(
        *(ingress.send("POST", path, data=form(why=f"answer {number}"), headers=FORM) for number in range(100))
    )
    statuses = [answer.status for answer in answers]
    assert (statuses.count(200), statuses.count(410)) == (1, 99)
    result = await ingress.fetchval("SELECT result ->> 'why' FROM penstock.steps WHERE run_id = $1", run)
    assert result == f"answer {statuses.index(200)}"


async def test_links_that_lead_nowhere_are_answered_kindly(ingress: Ingress) -> None:
    run, path = await ask(ingress, waits=False)
    early = await ingress.send("GET", path)
    assert (early.status, "not ready yet" in early.body.decode()) == (409, True)
    assert (await ingress.send("POST", path, data=form(why="x"), headers=FORM)).status == 409
    await begin_to_wait(ingress, run)
    for unknown in (path[:-1], f"{path}A", "/approvals/x", path.replace("/approvals", "/version-test/approvals")):
        assert (await ingress.send("GET", unknown)).status == 404, unknown
    await ingress.fetch("UPDATE penstock.waits SET until = clock_timestamp() - interval '1 second'")
    assert (await ingress.send("GET", path)).status == 410, "its time is over"
    await ingress.fetch("UPDATE penstock.waits SET until = NULL, form = NULL")
    assert (await ingress.send("POST", path, data=form(why="x"), headers=FORM)).status == 410
    await ingress.manage("POST", f"/v1/live/runs/{run}/cancel")
    assert (await ingress.send("GET", path)).status == 410
    await ingress.fetch("DELETE FROM penstock.runs WHERE id = $1", run)
    assert (await ingress.send("GET", path)).status == 410


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"why=%ff", "application/x-www-form-urlencoded", 400),
        (b"\xff=1", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=1" for _ in range(300)), "application/x-www-form-urlencoded", 400),
        (b"why=" + b"x" * 20_000, "application/x-www-form-urlencoded", 422),
        (b"why=" + b"x" * 1_048_576, "application/x-www-form-urlencoded", 413),
        (b"why=%00", "application/x-www-form-urlencoded", 422),
        (b'{"why": "x"}', "application/json", 415),
        (b"", "application/x-www-form-urlencoded", 422),
    ],
)
async def test_what_is_no_form_answers_nothing(ingress: Ingress, body: bytes, content_type: str, status: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield body

    run, path = await ask(ingress)
    answer = await ingress.send("POST", path, data=pieces(), headers={"Content-Type": content_type})
    assert answer.status == status, answer.body[:300]
    assert await ingress.fetchval("SELECT state FROM penstock.runs WHERE id = $1", run) == "waiting"
