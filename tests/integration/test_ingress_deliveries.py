"""Deliveries over the management API: listed, shown, and replayed one by one or by filter."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from penstock import clock
from penstock.broker.inprocess import InProcessBroker
from penstock.contracts.topology import topology
from penstock.domain.ids import new_run_id
from penstock.domain.lineage import LineageSeal
from penstock.runs.operations.replaying import REPLAY_BATCH
from penstock.runtime import Resources, Stop
from penstock.store.installation import get_lineage_key
from penstock_scheduler.loops.operations import work_off_operations
from penstock_scheduler.room import furnish
from tests.integration.ingress import (
    ADMIN,
    GITHUB_SECRET,
    SECRETS,
    Answer,
    Ingress,
    running_ingress,
    sign_stripe,
    write_app,
)
from tests.integration.scheduling import build_settings
from tests.site import deploy_directory

NOBODY = "0190a5f2-7c00-8a11-9b22-0123456789ab"
WANTS_ISSUES = """
workflow: triage
on: {webhook: {source: github, types: [issues]}}
steps:
  - log: "${webhook.event_id} ${webhook.payload.action}"
"""
OPEN = "  open: {scheme: none}\n"


@pytest.fixture
async def ingress(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ingress]:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    app = write_app(tmp_path) / "app.yaml"
    app.write_text(app.read_text() + OPEN)
    async with running_ingress(database_url, amqp_url, tmp_path) as running:
        yield running


async def deliver(ingress: Ingress, id: str, kind: str = "invoice.paid", **headers: str) -> Any:
    """A webhook of Stripe: `invoice.paid` starts two runs, `customer.…` one, others none."""
    body, signature = sign_stripe({"id": id, "type": kind})
    answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers={**signature, **headers})
    assert answer.status == 200, answer.body
    return answer.json


async def open_issue(ingress: Ingress, id: str = "72d3162e") -> Any:
    """A webhook of GitHub that no workflow wants until `WANTS_ISSUES` is deployed."""
    body = b'{"action": "opened"}'
    signature = hmac.new(GITHUB_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Event": "issues", "X-GitHub-Delivery": id}
    return (await ingress.send("POST", "/webhooks/github", data=body, headers=headers)).json


async def ask(ingress: Ingress, path: str, headers: dict[str, str] | None = None) -> Any:
    answer = await ingress.manage("GET", f"/v1/live/deliveries{path}", headers=headers)
    assert answer.status == 200, answer.body
    return answer.json


async def replay(ingress: Ingress, id: object, **more: Any) -> Answer:
    return await ingress.manage("POST", f"/v1/live/deliveries/{id}/replay", **more)


async def replay_many(ingress: Ingress, **wanted: object) -> Any:
    answer = await ingress.manage("POST", "/v1/live/deliveries/replay", json=wanted)
    assert answer.status == 202, answer.body
    return answer.json


async def bearer(ingress: Ingress, **wanted: object) -> dict[str, str]:
    made = await ingress.manage("POST", "/v1/live/tokens", json=wanted)
    return {"Authorization": f"Bearer {made.json['token']}"}


def kinds(page: Any) -> list[str]:
    return [delivery["type"] for delivery in page["results"]]


async def test_deliveries_are_listed_newest_first_by_every_filter_and_by_pages(ingress: Ingress) -> None:
    paid = await deliver(ingress, "evt_1")
    await deliver(ingress, "evt_2", "customer.made")
    await deliver(ingress, "evt_3", "other")
    await open_issue(ingress)
    assert kinds(await ask(ingress, "")) == ["issues", "other", "customer.made", "invoice.paid"]
    assert kinds(await ask(ingress, "?source=stripe&outcome=accepted")) == ["customer.made", "invoice.paid"]
    assert kinds(await ask(ingress, "?outcome=unmatched")) == ["issues", "other"]
    assert kinds(await ask(ingress, "?type=other")) == ["other"]
    assert kinds(await ask(ingress, f"?run={paid['run_ids'][1]}")) == ["invoice.paid"]
    assert kinds(await ask(ingress, f"?run={NOBODY}")) == []
    middle = (await ask(ingress, "?type=customer.made"))["results"][0]["received_at"]
    assert kinds(await ask(ingress, f"?since={middle}")) == ["issues", "other", "customer.made"]
    assert kinds(await ask(ingress, f"?until={middle}")) == ["invoice.paid"]
    assert (await ingress.manage("GET", "/v1/development/deliveries")).json["results"] == []
    page, listed = await ask(ingress, "?limit=3"), list[str]()
    listed += kinds(page)
    page = await ask(ingress, f"?limit=3&after={page['after']}")
    assert (listed + kinds(page), page["after"]) == (["issues", "other", "customer.made", "invoice.paid"], None)


async def test_a_delivery_is_shown_with_what_was_sent_but_for_credentials(ingress: Ingress) -> None:
    first = await deliver(ingress, "evt_1", Cookie="a=b", **{"X-Api-Key": "k-secret"})
    again = await deliver(ingress, "evt_1")
    assert (again["duplicate"], again["delivery_id"], again["run_ids"]) == (
        True, first["delivery_id"], first["run_ids"],
    )  # fmt: skip
    shown = await ask(ingress, f"/{first['delivery_id']}")
    assert (shown["source"], shown["type"], shown["verdict"], shown["outcome"], shown["duplicates"]) == (
        "stripe", "invoice.paid", "genuine", "accepted", 1,
    )  # fmt: skip
    assert (shown["run_ids"], shown["origin_id"], shown["replays"]) == (first["run_ids"], None, [])
    assert (shown["body_encoding"], json.loads(shown["body"])["id"]) == ("text", "evt_1")
    assert shown["size"] == len(shown["body"])
    assert "cookie" not in shown["headers"]
    assert (shown["headers"]["x-api-key"], "k-secret" in str(shown)) == ("[redacted]", False)
    (listed,) = (await ask(ingress, ""))["results"]
    assert listed == {name: value for name, value in shown.items() if name in listed}
    assert not {"headers", "body"} & set(listed)


async def test_what_nobody_signs_says_so_and_a_body_that_is_not_text_is_base64(ingress: Ingress) -> None:
    body = "n=ä".encode("latin-1")
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=iso-8859-1"}
    sent = await ingress.send("POST", "/webhooks/open", data=body, headers=headers)
    shown = await ask(ingress, f"/{sent.json['delivery_id']}")
    assert (shown["verdict"], shown["outcome"], shown["type"]) == ("unsigned", "unmatched", None)
    assert (shown["body_encoding"], base64.b64decode(shown["body"])) == ("base64", body)


async def test_a_replay_starts_runs_by_the_definitions_of_now_and_names_its_origin(
    ingress: Ingress, tmp_path: Path
) -> None:
    sent = await open_issue(ingress)
    assert sent["run_ids"] == []
    still = await replay(ingress, sent["delivery_id"])
    assert (still.status, still.json["outcome"]) == (201, "unmatched")
    (tmp_path / "workflows/more.yaml").write_text(WANTS_ISSUES)
    await deploy_directory(ingress.database, tmp_path)
    answer = await replay(ingress, sent["delivery_id"])
    assert (answer.status, answer.json["outcome"], answer.json["origin_id"]) == (201, "accepted", sent["delivery_id"])
    assert answer.headers["location"] == f"/v1/live/deliveries/{answer.json['id']}"
    (run_id,) = cast("list[str]", answer.json["run_ids"])
    run: Any = (await ingress.manage("GET", f"/v1/live/runs/{run_id}")).json
    assert (run["workflow"], run["trigger"], run["state"], run["depth"]) == ("triage", "webhook", "queued", 0)
    webhook = run["webhook"]
    assert (webhook["id"], webhook["event_id"], webhook["type"]) == (answer.json["id"], "72d3162e", "issues")
    assert webhook["payload"] == {"action": "opened"}
    origin = await ask(ingress, f"/{sent['delivery_id']}")
    assert (origin["run_ids"], origin["replays"]) == ([], [answer.json["id"], still.json["id"]])
    acts: Any = (await ingress.manage("GET", "/v1/live/audit?action=delivery")).json["results"]
    assert [(act["actor"], act["action"], act["subject"]) for act in acts] == [
        ("admin", "delivery.replay", sent["delivery_id"])
    ] * 2
    assert acts[0]["after"] == {"delivery": answer.json["id"], "runs": [run_id]}


async def test_a_copy_of_a_replayed_delivery_is_one_of_the_first(ingress: Ingress) -> None:
    first = await deliver(ingress, "evt_1")
    replayed = await replay(ingress, first["delivery_id"])
    assert len(cast("list[str]", replayed.json["run_ids"])) == 2
    copy = await deliver(ingress, "evt_1")
    assert (copy["duplicate"], copy["delivery_id"], copy["run_ids"]) == (True, first["delivery_id"], first["run_ids"])
    of_a_replay = await replay(ingress, replayed.json["id"])
    assert (of_a_replay.status, of_a_replay.json["origin_id"]) == (201, replayed.json["id"])
    assert await ingress.count_runs() == 6


async def test_the_same_idempotency_key_replays_once(ingress: Ingress) -> None:
    first, second = await deliver(ingress, "evt_1"), await deliver(ingress, "evt_2")
    headers = {**ADMIN, "Idempotency-Key": "k1"}
    made = await replay(ingress, first["delivery_id"], headers=headers)
    again = await replay(ingress, first["delivery_id"], headers=headers)
    assert (made.status, again.status, again.headers["idempotent-replayed"]) == (201, 200, "true")
    assert again.json == made.json
    assert (await replay(ingress, second["delivery_id"], headers=headers)).status == 201
    assert await ingress.count_runs() == 8
    assert await ingress.fetchval("SELECT count(*) FROM penstock.audit") == 2


async def test_a_replay_keeps_the_depth_and_the_chain_of_its_origin(ingress: Ingress, tmp_path: Path) -> None:
    chain_id, caller_id = new_run_id(), new_run_id()
    async with ingress.database.connection() as conn:
        seal = LineageSeal(await get_lineage_key(conn))
    baggage = {"Baggage": seal.sign(chain_id, caller_id, 3, clock.now())}
    started, unmatched = await deliver(ingress, "evt_1", **baggage), await deliver(ingress, "evt_2", "new", **baggage)
    workflow = "workflow: new\non: {webhook: {source: stripe, types: [new]}}\nsteps: [{log: hello}]"
    (tmp_path / "workflows/more.yaml").write_text(workflow)
    await deploy_directory(ingress.database, tmp_path)
    for sent in (started, unmatched):
        replayed = await replay(ingress, sent["delivery_id"])
        for run_id in cast("list[str]", replayed.json["run_ids"]):
            run: Any = (await ingress.manage("GET", f"/v1/live/runs/{run_id}")).json
            assert (run["depth"], run["chain_id"]) == (4, str(chain_id))


async def test_what_cannot_be_replayed_is_refused_with_the_reason(ingress: Ingress, tmp_path: Path) -> None:
    sent = await deliver(ingress, "evt_1")
    missing = await replay(ingress, NOBODY)
    assert (missing.status, missing.json["detail"]) == (404, f"live has no delivery {NOBODY}")
    elsewhere = await ingress.manage("POST", f"/v1/development/deliveries/{sent['delivery_id']}/replay")
    assert elsewhere.status == 404
    (tmp_path / "app.yaml").write_text("app: integration\n")
    for file in (tmp_path / "workflows").iterdir():
        file.unlink()
    await deploy_directory(ingress.database, tmp_path)
    refused = await replay(ingress, sent["delivery_id"])
    assert (refused.status, refused.json["code"]) == (409, "not_replayable")
    assert "the source 'stripe'" in str(refused.json["detail"])
    begun = await replay_many(ingress, all=True)
    assert (begun["state"], begun["total"], begun["done"]) == ("finished", 1, 0), "passed over, and it does not stop"
    assert await ingress.count_deliveries() == 1


async def test_a_filter_replays_what_came_from_outside_the_oldest_first(ingress: Ingress) -> None:
    for id, kind in (("evt_1", "customer.a"), ("evt_2", "other"), ("evt_3", "customer.b")):
        await deliver(ingress, id, kind)
    begun = await replay_many(ingress, source="stripe", outcome="accepted")
    assert (begun["kind"], begun["state"], begun["total"], begun["done"], begun["actor"]) == (
        "deliveries.replay", "finished", 2, 2, "admin",
    )  # fmt: skip
    assert begun["filter"] == {"source": "stripe", "outcome": "accepted"}
    assert kinds(await ask(ingress, "?limit=2")) == ["customer.b", "customer.a"]
    assert (await replay_many(ingress, all=True))["done"] == 3, "replays are left out"
    acts: Any = (await ingress.manage("GET", "/v1/live/audit?action=delivery.replay")).json["results"]
    assert [act["after"]["total"] for act in acts] == [3, 2]


async def test_a_filter_with_the_same_idempotency_key_begins_one_operation(ingress: Ingress) -> None:
    await deliver(ingress, "evt_1")
    headers = {**ADMIN, "Idempotency-Key": '"k1"'}
    path, answers = "/v1/live/deliveries/replay", list[Answer]()
    for wanted in ({"source": "stripe"}, {"source": "stripe"}, {"all": True}):
        answers.append(await ingress.manage("POST", path, json=wanted, headers=headers))
    assert [answer.status for answer in answers] == [202, 202, 422]
    assert answers[0].json == answers[1].json
    assert "used before with another filter" in str(answers[2].json["detail"])
    assert await ingress.count_deliveries() == 2
    assert await ingress.fetchval("SELECT count(*) FROM penstock.audit") == 1


async def test_many_are_replayed_batch_by_batch_each_once(ingress: Ingress) -> None:
    sent = await deliver(ingress, "evt_1", "customer.made")
    await multiply(ingress, sent["delivery_id"], REPLAY_BATCH + 49)
    begun = await replay_many(ingress, type="customer.made")
    assert (begun["state"], begun["total"], begun["done"]) == ("running", REPLAY_BATCH + 50, REPLAY_BATCH)
    room = furnish(build_settings(), Resources(ingress.database, InProcessBroker(topology())), Stop())
    turn = await work_off_operations(room)
    assert (turn.done["replayed"], turn.wait_seconds) == (50, None)
    over: Any = (await ingress.manage("GET", f"/v1/live/operations/{begun['id']}")).json
    assert (over["state"], over["done"]) == ("finished", REPLAY_BATCH + 50)
    doubled = "SELECT count(*) FROM (SELECT origin_id FROM penstock.deliveries GROUP BY 1 HAVING count(*) = 1) q"
    assert await ingress.fetchval(doubled) == REPLAY_BATCH + 50
    await room.release()


async def test_large_bodies_are_replayed_a_few_at_a_time(ingress: Ingress) -> None:
    sent = await deliver(ingress, "evt_1", "customer.made")
    large = json.dumps({"id": "evt_1", "type": "customer.made", "text": "x" * 5_000_000}).encode()
    async with ingress.database.connection() as conn:
        await conn.execute("UPDATE penstock.deliveries SET body = $1", large)
    await multiply(ingress, sent["delivery_id"], 1)
    begun = await replay_many(ingress, all=True)
    assert (begun["state"], begun["total"], begun["done"]) == ("running", 2, 1)


async def multiply(ingress: Ingress, id: str, count: int) -> None:
    """Store this many deliveries like that one."""
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.deliveries (id, environment, source, type, state, received_at, headers, body)
            SELECT q.id, d.environment, d.source, d.type, d.state, d.received_at, d.headers, d.body
            FROM penstock.deliveries d, unnest($2::uuid[]) AS q (id)
            WHERE d.id = $1
            """,
            UUID(id),
            [uuid4() for _ in range(count)],
        )


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/replay", {}, 422, "this would replay all deliveries of live; narrow it down, or send all: true"),
        ("POST", "/replay", {"all": True, "source": "x"}, 422, "give either all: true or a filter"),
        ("POST", "/replay", {"sorce": "x"}, 422, "sorce"),
        ("POST", "/replay", {"outcome": "refused"}, 422, "outcome"),
        ("POST", "/replay", {"source": "a\u0000b"}, 422, "source"),
        ("POST", "/replay", {"since": "yesterday"}, 422, "since"),
        ("POST", "/17/replay", None, 404, "'17' is not an id"),
        ("GET", f"/{NOBODY}", None, 404, f"live has no delivery {NOBODY}"),
        ("GET", "?outcome=refused", None, 400, "outcome: expected one of accepted, unmatched"),
        ("GET", "?run=17", None, 400, "run: expected an id"),
        ("GET", "?sorce=x", None, 422, "sorce"),
        ("GET", "?after=17", None, 400, "after"),
        ("GET", "?limit=501", None, 400, "limit"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    ingress: Ingress, method: str, path: str, body: object, status: int, says: str
) -> None:
    answer = await ingress.manage(method, f"/v1/live/deliveries{path}", json=body)
    assert (answer.status, says in str(answer.json["detail"])) == (status, True), answer.body


async def test_viewers_look_operators_replay_and_without_payloads_neither_headers_nor_body_are_seen(
    ingress: Ingress,
) -> None:
    id = (await deliver(ingress, "evt_secret"))["delivery_id"]
    viewer, operator = await bearer(ingress, role="viewer"), await bearer(ingress, role="operator", payloads=False)
    assert "evt_secret" in (await ask(ingress, f"/{id}", viewer))["body"]
    for path in (f"/v1/live/deliveries/{id}/replay", "/v1/live/deliveries/replay"):
        assert (await ingress.manage("POST", path, json={"all": True}, headers=viewer)).status == 403
    shown = await ask(ingress, f"/{id}", operator)
    assert (shown["headers"], shown["body"], shown["type"]) == (None, None, "invoice.paid")
    replayed = await replay(ingress, id, headers=operator)
    assert (replayed.status, b"evt_secret" in replayed.body) == (201, False)
    scoped = await bearer(ingress, role="operator", workflows=["paid"])
    assert (await ingress.manage("GET", f"/v1/live/deliveries/{id}", headers=scoped)).status == 403


async def test_the_sources_that_are_deployed_are_listed_with_who_listens_to_them(ingress: Ingress) -> None:
    for environment, prefix in (("live", ""), ("development", "/version-test")):
        answer = await ingress.manage("GET", f"/v1/{environment}/sources")
        assert (answer.status, answer.json["after"]) == (200, None)
        sources = {str(one["name"]): one for one in cast("list[dict[str, object]]", answer.json["results"])}
        assert sources.keys() == {"open", "stripe", "github", "unset", "partner"}
        assert sources["stripe"] == {
            "name": "stripe",
            "scheme": "stripe",
            "path": f"{prefix}/webhooks/stripe",
            "workflows": [
                {"workflow": "paid", "types": ["invoice.paid", "customer.*"]},
                {"workflow": "bookkeeping", "types": ["invoice.paid"]},
            ],
        }
        assert b"secret" not in answer.body.lower()
