"""What a token must not give: more than its scope, its environment, its sight of payloads, or its user's life."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from penstock.domain.callers import Role
from penstock.store.tokens import NewToken, create_token
from penstock.things.records import NewThing, create_things, delete_things
from penstock.things.tables import USER
from tests.integration.ingress import Answer, Ingress, running_ingress, write_app

GREET, MINE = "/api/1.1/wf/greet", "/api/1.1/wf/mine"
USER_ID = "1700000000000x000000000000000001"
SECRET = "the-payload-itself"
OF_USERS = """
workflow: mine
on: {api: {method: POST, auth: user, respond: at_once}}
steps:
  - return: {}
"""


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path, of_users=OF_USERS)) as running:
        yield running


def bearer(token: object) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def ask_for(ingress: Ingress, wanted: dict[str, object], headers: dict[str, str] | None = None) -> Answer:
    return await ingress.manage("POST", "/v1/live/tokens", json=wanted, headers=headers)


async def make(ingress: Ingress, **wanted: object) -> dict[str, str]:
    """The headers that a bearer of a new token sends."""
    return bearer((await ask_for(ingress, wanted)).json["token"])


async def make_ada(ingress: Ingress) -> None:
    async with ingress.database.connection() as conn:
        ada = NewThing(USER_ID, {"email": "ada@example.com"})
        await create_things(conn, environment="live", data_type=USER, things=[ada])


async def test_an_admin_of_one_environment_does_not_revoke_what_holds_in_both(ingress: Ingress) -> None:
    async with ingress.database.connection() as conn:
        token, stored = await create_token(conn, NewToken(role=Role.ADMIN), actor="cli:ops")
    made = await ingress.manage("POST", "/v1/development/tokens", json={"role": "admin"})
    for path, status in ((f"tokens/{stored.id}", 404), (f"tokens/{made.json['id']}", 200)):
        answer = await ingress.manage("DELETE", f"/v1/development/{path}", headers=bearer(made.json["token"]))
        assert answer.status == status, answer.body
    assert (await ingress.manage("GET", "/v1/live/runs", headers=bearer(token))).status == 200
    assert (await ingress.manage("DELETE", f"/v1/development/tokens/{stored.id}", headers=bearer(token))).status == 200


@pytest.mark.parametrize("path", ["runs", "schedule", "recurrences", "workload"])
async def test_an_empty_workflow_in_the_query_is_not_within_any_scope(ingress: Ingress, path: str) -> None:
    async with ingress.database.connection() as conn:
        token, _ = await create_token(conn, NewToken(role=Role.ADMIN, workflows=[""]), actor="cli:ops")
    answer = await ingress.manage("GET", f"/v1/live/{path}?workflow=", headers=bearer(token))
    assert answer.status == 403


@pytest.mark.parametrize("wanted", [{"workflows": [""]}, {"types": [""]}, {"workflows": ["x" * 201]}])
async def test_a_scope_names_what_there_can_be(ingress: Ingress, wanted: dict[str, object]) -> None:
    assert (await ask_for(ingress, wanted)).status == 422


async def test_the_token_of_a_user_ends_with_the_user(ingress: Ingress) -> None:
    await make_ada(ingress)
    ada, other = await make(ingress, user=USER_ID), await make(ingress, role="operator")
    assert (await ingress.send("POST", MINE, json={}, headers=ada)).status == 202
    async with ingress.database.connection() as conn:
        await delete_things(conn, environment="live", data_type=USER, ids=[USER_ID])
    assert (await ingress.send("POST", MINE, json={}, headers=ada)).status == 401
    assert (await ingress.send("POST", MINE, json={}, headers=other)).status == 202


async def test_who_sees_no_payloads_makes_no_token_that_does(ingress: Ingress) -> None:
    await make_ada(ingress)
    blind = await make(ingress, role="admin", payloads=False)
    assert (await ask_for(ingress, {"user": USER_ID}, blind)).status == 403
    assert (await ask_for(ingress, {"role": "admin"}, blind)).json["payloads"] is False


async def test_who_sees_no_payloads_is_not_answered_with_a_result(ingress: Ingress) -> None:
    blind = await make(ingress, role="operator", payloads=False)
    started = await ingress.send("POST", GREET, json={"name": "Ada"}, headers=blind)
    assert started.status == 202
    await ingress.finish_run(started.json["run_id"], "succeeded", result={"greeting": SECRET})
    shown = await ingress.send("GET", started.headers["location"], headers=blind)
    assert (shown.status, shown.json["status"], shown.json["response"]) == (200, "success", None)


async def test_who_sees_no_payloads_does_not_see_what_others_have_searched_for_or_given_as_a_reason(
    ingress: Ingress,
) -> None:
    blind = await make(ingress, role="operator", payloads=False)
    begun = await ingress.manage("POST", "/v1/live/runs/cancel", json={"contains": SECRET})
    run = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "hidden"})
    chain = f"chains/{run.json['chain_id']}"
    assert (await ingress.manage("POST", f"/v1/live/{chain}/stop", json={"reason": SECRET})).status == 200
    for path in (f"operations/{begun.json['id']}", "audit", chain):
        assert SECRET in (await ingress.manage("GET", f"/v1/live/{path}")).body.decode()
        assert SECRET not in (await ingress.manage("GET", f"/v1/live/{path}", headers=blind)).body.decode()


async def test_who_sees_no_payloads_sees_why_a_run_waits_but_not_the_name_of_a_signal(ingress: Ingress) -> None:
    blind = await make(ingress, role="viewer", payloads=False)
    later = {"workflow": "hidden", "after": "1h"}
    run = await ingress.manage("POST", "/v1/live/runs", json=later)
    shown = await ingress.manage("GET", f"/v1/live/runs/{run.json['id']}", headers=blind)
    waiting = cast("dict[str, object]", shown.json["waiting_for"])
    assert (waiting["reason"], waiting["key"]) == ("due", None)
    async with ingress.database.connection() as conn:
        await conn.execute("UPDATE penstock.runs SET state = 'waiting'")
        await conn.execute(
            "INSERT INTO penstock.waits (run_id, environment, step, signal) SELECT id, environment, 'step1', $1"
            " FROM penstock.runs", SECRET,
        )  # fmt: skip
    path = f"/v1/live/runs/{run.json['id']}"
    assert SECRET in (await ingress.manage("GET", path)).body.decode()
    assert SECRET not in (await ingress.manage("GET", path, headers=blind)).body.decode()
