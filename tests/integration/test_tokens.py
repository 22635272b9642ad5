"""Tokens: who may do what with which, and that one which was revoked is refused at once, by every process."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.callers import Role
from penstock.things.records import NewThing, create_things
from penstock.things.tables import USER
from tests.integration.ingress import ADMIN, Answer, Ingress, running_ingress, write_app

GREET, SECRETLY = "/api/1.1/wf/greet", "/api/1.1/wf/secretly"
ADA = {"name": "Ada"}
USER_ID = "1700000000000x000000000000000001"
OF_USERS = """
workflow: mine
on: {api: {method: POST, auth: user, respond: at_once}}
steps:
  - return: {}
"""
LATER = {"Prefer": "respond-async"}


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    """An ingress with a user in each environment, and no executor."""
    async with running_ingress(database_url, amqp_url, write_app(tmp_path, of_users=OF_USERS)) as running:
        for environment in ENVIRONMENTS:
            async with running.database.connection() as conn:
                ada = NewThing(USER_ID, {"email": "Ada@example.com"})
                await create_things(conn, environment=environment, data_type=USER, things=[ada])
        yield running


async def make(ingress: Ingress, environment: str = "live", **wanted: object) -> dict[str, str]:
    """The headers that a bearer of a new token sends."""
    return {"Authorization": f"Bearer {(await made(ingress, environment, **wanted))['token']}"}


async def made(ingress: Ingress, environment: str = "live", **wanted: object) -> dict[str, object]:
    answer = await ingress.manage("POST", f"/v1/{environment}/tokens", json=wanted)
    assert answer.status == 201, answer.body
    assert answer.headers["cache-control"] == "no-store"
    return answer.json


def problem_of(answer: Answer) -> str:
    return f"{answer.status} {answer.json.get('detail')}"


async def test_each_role_may_do_what_the_one_before_it_may(ingress: Ingress) -> None:
    bearers = {role: await make(ingress, role=role.value) for role in Role}
    acts: dict[Role, tuple[str, str, object]] = {
        Role.VIEWER: ("GET", "runs", None),
        Role.OPERATOR: ("POST", "runs", {"workflow": "hidden"}),
        Role.ADMIN: ("PUT", "settings", {"depth_limit": 25}),
    }
    for role, headers in bearers.items():
        for needed, (method, path, body) in acts.items():
            answer = await ingress.manage(method, f"/v1/live/{path}", json=body, headers=headers)
            if role.covers(needed):
                assert answer.status in {200, 201}, (role, needed, answer.body)
            else:
                assert problem_of(answer).startswith(f"403 this needs a token with the role {needed}"), answer.body
    assert await ingress.count_runs() == 2


async def test_tokens_are_made_listed_and_revoked_by_admins_alone(ingress: Ingress) -> None:
    operator = await make(ingress, role="operator", label="night shift")
    for method, path in (("GET", "tokens"), ("POST", "tokens")):
        answer = await ingress.manage(
            method, f"/v1/live/{path}", json={} if method == "POST" else None, headers=operator
        )
        assert answer.status == 403
    listed = cast("list[dict[str, object]]", (await ingress.manage("GET", "/v1/live/tokens")).json["results"])
    assert [(token["label"], token["role"], token["environment"]) for token in listed] == [
        ("night shift", "operator", "live")
    ]
    assert "token" not in listed[0]
    assert (await ingress.manage("GET", "/v1/development/tokens")).json["results"] == []
    stored = "SELECT count(*) FROM penstock.tokens t WHERE to_jsonb(t)::text LIKE '%' || $1 || '%'"
    assert await ingress.fetchval(stored, operator["Authorization"].split()[1]) == 0


async def test_a_revoked_token_is_refused_at_once_by_every_process(
    ingress: Ingress, database_url: str, amqp_url: str
) -> None:
    token = await made(ingress, role="operator")
    headers = {"Authorization": f"Bearer {token['token']}"}
    async with running_ingress(database_url, amqp_url, None) as other:
        for one in (ingress, other):
            assert (await one.send("POST", GREET, json=ADA, headers={**headers, **LATER})).status == 202
        assert (await other.manage("DELETE", f"/v1/live/tokens/{token['id']}")).status == 200
        for one in (ingress, other):
            assert (await one.send("POST", GREET, json=ADA, headers={**headers, **LATER})).status == 401
            assert (await one.manage("GET", "/v1/live/runs", headers=headers)).status == 401
        assert (await other.manage("DELETE", f"/v1/live/tokens/{token['id']}")).status == 404


async def test_an_expired_token_is_refused(ingress: Ingress) -> None:
    token = await made(ingress, role="viewer", expires="1h")
    headers = {"Authorization": f"Bearer {token['token']}"}
    assert (await ingress.manage("GET", "/v1/live/runs", headers=headers)).status == 200
    async with ingress.database.connection() as conn:
        await conn.execute("UPDATE penstock.tokens SET expires_at = clock_timestamp()")
    assert (await ingress.manage("GET", "/v1/live/runs", headers=headers)).status == 401
    assert (await ingress.manage("GET", "/v1/live/tokens")).json["results"] == []


async def test_a_token_holds_in_its_environment_alone(ingress: Ingress) -> None:
    headers = await make(ingress, "development", role="admin")
    assert (await ingress.manage("GET", "/v1/development/runs", headers=headers)).status == 200
    assert (await ingress.manage("GET", "/v1/live/runs", headers=headers)).status == 401
    assert (await ingress.send("POST", f"/version-test{SECRETLY}", json={}, headers={**headers, **LATER})).status == 202
    refused = await ingress.send("POST", SECRETLY, json={}, headers={**headers, **LATER})
    assert (refused.status, refused.json["error_class"]) == (401, "Unauthorized")


async def test_a_token_for_some_workflows_reaches_nothing_else(ingress: Ingress) -> None:
    headers = await make(ingress, role="operator", workflows=["secretly"])
    assert (await ingress.send("POST", SECRETLY, json={}, headers={**headers, **LATER})).status == 202
    assert (await ingress.send("POST", GREET, json=ADA, headers={**headers, **LATER})).status == 401
    assert (await ingress.send("GET", "/api/1.1/obj/secret", headers=headers)).json["response"] != {}
    own = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "secretly"}, headers=headers)
    foreign = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "hidden"})
    reached = {
        "runs?workflow=secretly": 200, "runs?workflow=hidden": 403, "runs": 403, f"runs/{own.json['id']}": 200,
        f"runs/{foreign.json['id']}": 403, f"runs/{UUID(int=0)}": 403, "runs/no-id": 403, "logs": 403, "settings": 403,
        "audit": 403, "schedule?workflow=secretly": 200, f"chains/{own.json['chain_id']}": 403,
    }  # fmt: skip
    assert {
        path: (await ingress.manage("GET", f"/v1/live/{path}", headers=headers)).status for path in reached
    } == reached
    started = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "hidden"}, headers=headers)
    assert (started.status, await ingress.count_runs()) == (403, 3)


async def test_a_token_for_data_types_starts_no_workflow(ingress: Ingress) -> None:
    headers = await make(ingress, role="admin", types=["order"])
    assert (await ingress.send("POST", SECRETLY, json={}, headers={**headers, **LATER})).status == 401
    assert (await ingress.send("GET", "/api/1.1/obj/order", headers=headers)).status == 200
    assert (await ingress.manage("POST", "/v1/live/tokens", json={}, headers=headers)).status == 403


async def test_without_sight_of_payloads_nothing_that_others_have_written_is_shown(ingress: Ingress) -> None:
    secret = "the-payload-itself"
    run = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "greet", "parameters": {"name": secret}})
    await ingress.finish_run(run.json["id"], "failed", error={"kind": "error", "message": secret})
    headers = await make(ingress, role="viewer", payloads=False)
    for path in ("runs", f"runs/{run.json['id']}", f"chains/{run.json['chain_id']}", "logs"):
        assert secret in (await ingress.manage("GET", f"/v1/live/{path}")).body.decode() or path == "logs"
        answer = await ingress.manage("GET", f"/v1/live/{path}", headers=headers)
        assert (answer.status, secret in answer.body.decode()) == (200, False)
    for query in (f"runs?contains={secret}", f"logs?contains={secret}"):
        assert (await ingress.manage("GET", f"/v1/live/{query}", headers=headers)).status == 403
    shown = await ingress.send("GET", f"/api/1.1/runs/{run.json['id']}", headers=headers)
    assert secret not in shown.body.decode()


async def test_a_user_calls_what_is_for_users_and_sees_their_own_runs(ingress: Ingress) -> None:
    ada = await make(ingress, user="ada@EXAMPLE.com")
    started = await ingress.send("POST", "/api/1.1/wf/mine", json={}, headers=ada)
    assert started.status == 202
    assert (await ingress.send("POST", "/api/1.1/wf/mine", json={})).status == 401
    assert (await ingress.send("POST", SECRETLY, json={}, headers=ada)).status == 401
    assert (await ingress.manage("GET", "/v1/live/runs", headers=ada)).status == 401
    assert (await ingress.send("POST", "/version-test/api/1.1/wf/mine", json={}, headers=ada)).status == 401
    location = started.headers["location"]
    statuses = [(await ingress.send("GET", location, headers=headers)).status for headers in (ada, ADMIN, {})]
    assert statuses == [200, 200, 401]
    other = await made(ingress, user=USER_ID)
    assert other["user"] == USER_ID


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"role": "owner"}, "role"),
        ({"user": "nobody@example.com"}, "no user"),
        ({"user": "ada@example.com", "role": "viewer"}, "either `role` or `user`"),
        ({"user": "ada@example.com", "payloads": False}, "for tokens with a role"),
        ({"expires": "a while"}, "expires"),
        ({"expires": "0s"}, "expires"),
        ({"label": "x" * 101}, "label"),
        ({"scope": "all"}, "scope"),
        ({"label": "a\x00b"}, "label"),
    ],
)
async def test_what_cannot_be_a_token_is_refused(ingress: Ingress, wanted: dict[str, object], said: str) -> None:
    answer = await ingress.manage("POST", "/v1/live/tokens", json=wanted)
    assert answer.status == 422
    assert said in problem_of(answer)
    assert await ingress.fetchval("SELECT count(*) FROM penstock.tokens") == 0


async def test_the_audit_names_the_bearer_and_use_is_noted(ingress: Ingress) -> None:
    headers = await make(ingress, role="admin", label="ops laptop")
    await ingress.manage("PUT", "/v1/live/settings", json={"depth_limit": 25}, headers=headers)
    entries = cast("list[dict[str, object]]", (await ingress.manage("GET", "/v1/live/audit")).json["results"])
    assert [(entry["actor"], entry["action"]) for entry in entries] == [
        ("token ops laptop", "settings.set"), ("admin", "token.create"),
    ]  # fmt: skip
    (token,) = cast("list[dict[str, object]]", (await ingress.manage("GET", "/v1/live/tokens")).json["results"])
    assert token["last_used_at"] is not None
    assert headers["Authorization"].split()[1] not in str(entries)
