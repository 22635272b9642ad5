"""`penstock deliveries` as people use it, beside an ingress that takes webhooks."""

import asyncio
import json
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from penstock.runs.operations.replaying import REPLAY_BATCH
from tests.acceptance.console import PENSTOCK, clean_environment, penstock
from tests.integration.ingress import SECRETS, STRIPE_SECRET, Ingress, running_ingress, sign_stripe, write_app
from tests.site import deploy_directory

NOBODY = "0190a5f2-7c00-8a11-9b22-0123456789ab"
WANTS_OTHERS = "workflow: others\non: {webhook: {source: stripe, types: [other]}}\nsteps: [{log: hello}]"


@pytest.fixture
async def ingress(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ingress]:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


@pytest.fixture
def environment(database_url: str, amqp_url: str) -> dict[str, str]:
    return clean_environment(
        PENSTOCK_DATABASE_URL=database_url, PENSTOCK_AMQP_URL=amqp_url, PENSTOCK_SECRET_STRIPE=STRIPE_SECRET
    )


async def deliver(ingress: Ingress, id: str, kind: str = "invoice.paid", *, prefix: str = "", **more: object) -> Any:
    body, headers = sign_stripe({"id": id, "type": kind, **more})
    headers = {**headers, "X-Api-Key": "k-secret"}
    answer = await ingress.send("POST", f"{prefix}/webhooks/stripe", data=body, headers=headers)
    assert answer.status == 200, answer.body
    return answer.json


async def ask(environment: dict[str, str], *arguments: str) -> Any:
    outcome = await penstock("deliveries", *arguments, "--json", environment=environment)
    assert outcome.code == 0, outcome
    return outcome.json


async def test_deliveries_are_listed_shown_and_replayed(
    ingress: Ingress, environment: dict[str, str], tmp_path: Path
) -> None:
    first, second = await deliver(ingress, "evt_1", note=STRIPE_SECRET), await deliver(ingress, "evt_2", "other")
    page = await ask(environment, "list", "-e", "live", "--limit", "1")
    rest = await ask(environment, "list", "-e", "live", "--after", page["after"])
    listed = [one["id"] for one in (*page["results"], *rest["results"])]
    assert (listed, rest["after"]) == ([second["delivery_id"], first["delivery_id"]], None)
    table = (
        await penstock("deliveries", "list", "-e", "live", "--run", first["run_ids"][0], environment=environment)
    ).out
    assert [line.split()[2:6] for line in table.splitlines()[1:]] == [
        [first["delivery_id"], "stripe", "invoice.paid", "accepted"]
    ]
    shown = await penstock("deliveries", "show", first["delivery_id"][:18], environment=environment)
    assert all(text in shown.out for text in ("genuine", '"id": "evt_1"', "x-api-key: [redacted]", first["run_ids"][0]))
    assert STRIPE_SECRET not in shown.out, "a secret that somebody sent is not printed"
    (tmp_path / "workflows/more.yaml").write_text(WANTS_OTHERS)
    await deploy_directory(ingress.database, tmp_path)
    (replayed,) = (await ask(environment, "replay", second["delivery_id"]))["results"]
    assert (replayed["origin_id"], replayed["outcome"], len(replayed["run_ids"])) == (
        second["delivery_id"], "accepted", 1,
    )  # fmt: skip
    states = "SELECT array_agg(state) FROM penstock.runs WHERE id = ANY($1::text[]::uuid[])"
    assert await ingress.fetchval(states, replayed["run_ids"]) == ["queued"], "handed to executors at once"
    many = await ask(environment, "replay", "-e", "live", "--source", "stripe")
    assert many["replayed"] == 2
    acts: Any = (await penstock("audit", "-e", "live", "--json", environment=environment)).json["results"]
    assert [act["action"] for act in acts[:2]] == ["delivery.replay"] * 2
    assert acts[0]["actor"].startswith("cli:")


async def test_without_a_broker_a_scheduler_is_to_find_the_runs(ingress: Ingress, environment: dict[str, str]) -> None:
    sent = await deliver(ingress, "evt_1", "customer.made")
    alone = {name: value for name, value in environment.items() if name != "PENSTOCK_AMQP_URL"}
    (replayed,) = (await ask(alone, "replay", sent["delivery_id"]))["results"]
    states = "SELECT array_agg(state) FROM penstock.runs WHERE id = ANY($1::text[]::uuid[])"
    assert await ingress.fetchval(states, replayed["run_ids"]) == ["scheduled"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", NOBODY), 1, f"no delivery {NOBODY}"),
        (("show", "0190a5f2"), 1, "no delivery has an id that begins with 0190a5f2"),
        (("list", "--after", NOBODY), 1, "--after takes the id of the last delivery of a page"),
        (("list", "--since", "yesterday"), 2, "neither a time"),
        (("list", "--outcome", "refused"), 2, "refused"),
        (("replay",), 2, "give ids, options that narrow it down, or --all"),
        (("replay", "--all", "--source", "stripe"), 2, "give ids, options that narrow it down, or --all"),
        (("replay", NOBODY), 1, f"no delivery {NOBODY}; nothing was replayed"),
        (("tail", "--forward", "localhost:8080"), 2, "is not a URL such as"),
        (("tail", "--forward", "ftp://localhost/"), 2, "is not a URL such as"),
        (("tail", "--forward", "http://[::1"), 2, "is not a URL such as"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    database_url: str, arguments: Sequence[str], code: int, said: str
) -> None:
    outcome = await penstock(
        "deliveries", *arguments, environment=clean_environment(PENSTOCK_DATABASE_URL=database_url)
    )
    assert outcome.code == code, outcome
    assert said in " ".join(outcome.err.replace("│", " ").split()), outcome.err


async def test_one_that_cannot_be_replayed_keeps_no_other_back(
    ingress: Ingress, environment: dict[str, str], tmp_path: Path
) -> None:
    first = await deliver(ingress, "evt_1")
    async with ingress.database.connection() as conn:
        await conn.execute("UPDATE penstock.deliveries SET source = 'gone'")
    second = await deliver(ingress, "evt_2")
    ids = (first["delivery_id"], second["delivery_id"])
    outcome = await penstock("deliveries", "replay", *ids, "--json", environment=environment)
    assert (outcome.code, len(json.loads(outcome.out)["results"])) == (1, 1)
    assert f"the source 'gone' of delivery {first['delivery_id']} is not deployed to live any more" in outcome.err


@asynccontextmanager
async def tailing(environment: dict[str, str], *arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *PENSTOCK, "deliveries", "tail", *arguments, env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(30):
            assert b"following the deliveries of" in await process.stderr.readline()
        yield process
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            assert await process.wait() == 130
        assert await process.stderr.read() == b"stopped\n"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def read_line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode()


async def test_what_comes_in_is_followed_and_what_came_before_is_not(
    ingress: Ingress, environment: dict[str, str]
) -> None:
    await deliver(ingress, "evt_1")
    async with tailing(environment, "-e", "live", "--source", "stripe") as tail:
        for id, kind in (("evt_2", "customer.\x1b[31m"), ("evt_3", "other")):
            await deliver(ingress, id, kind)
        first, second = await read_line(tail), await read_line(tail)
        assert (r"customer.\x1b[31m  accepted  1 run" in first, "other  unmatched  0 runs" in second) == (True, True)
        await deliver(ingress, "evt_4", prefix="/version-test")
        replayed = await ask(environment, "replay", first.split()[2])
        assert f"replay of {first.split()[2]}" in await read_line(tail)
        assert replayed["results"][0]["id"] in (await ask(environment, "list", "-e", "live"))["results"][0]["id"]


async def test_deliveries_are_forwarded_as_they_came_and_a_target_that_fails_ends_nothing(
    ingress: Ingress, environment: dict[str, str]
) -> None:
    target = f"{ingress.url}/version-test/webhooks/stripe"
    async with tailing(environment, "-e", "live", "--json", "--forward", target) as tail:
        sent = await deliver(ingress, "evt_1", text="ä")
        shown = json.loads(await read_line(tail))
        assert (shown["id"], shown["forwarded"]) == (sent["delivery_id"], "200"), "its signature holds there too"
    assert await ingress.fetchval("SELECT count(*) FROM penstock.deliveries WHERE environment = 'development'") == 1
    received: list[tuple[bytes, str, set[str]]] = []

    async def receive(request: web.Request) -> web.Response:
        names = {name.lower() for name in request.headers}
        received.append((await request.read(), request.headers["Content-Type"], names))
        if len(received) > 1:
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=303, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_post("/hooks", receive)
    async with (
        TestServer(app) as server,
        tailing(environment, "-e", "live", "--forward", str(server.make_url("/hooks"))) as tail,
    ):
        await deliver(ingress, "evt_2")
        assert (await read_line(tail)).endswith("→ 303\n"), "redirects are not followed"
        await deliver(ingress, "evt_3")
        assert "→ failed: " in await read_line(tail)
    body, kind, names = received[0]
    assert (json.loads(body)["id"], kind, "stripe-signature" in names, "x-api-key" in names) == (
        "evt_2", "application/json", True, False,
    )  # fmt: skip


async def test_a_replay_that_fails_half_way_says_where_to_continue(
    ingress: Ingress, environment: dict[str, str]
) -> None:
    newest = (await deliver(ingress, "evt_1", "other"))["delivery_id"]
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.deliveries (id, environment, source, type, state, received_at, headers, body)
            SELECT gen_random_uuid(), d.environment, d.source, d.type, d.state, d.received_at - n * interval '1 s',
                   d.headers, d.body
            FROM penstock.deliveries d, generate_series(1, $1) n
            """,
            REPLAY_BATCH,
        )
        await conn.execute("UPDATE penstock.deliveries SET headers = '17' WHERE id = $1::text::uuid", newest)
        last = await conn.fetchval(
            "SELECT received_at FROM penstock.deliveries ORDER BY received_at OFFSET $1", REPLAY_BATCH - 1
        )
    outcome = await penstock("deliveries", "replay", "-e", "live", "--all", environment=environment)
    assert outcome.code == 1
    assert f"has failed after {REPLAY_BATCH} of {REPLAY_BATCH + 1}" in outcome.err
    assert f"add --since {(last + timedelta.resolution).isoformat()}" in outcome.err
