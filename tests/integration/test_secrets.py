"""Secrets from the command that stores them to the step that uses them: found within seconds, missed with a clear word,
shown nowhere.
"""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from penstock.broker.port import Delivery
from penstock.contracts.messages import RunAnswer
from penstock.contracts.topology import EVENTS_EXCHANGE
from penstock.db import Database, Record
from penstock.encryption import make_key, parse_keyring
from penstock.errors import ConfigurationError
from penstock.store.secrets import Secrets, list_secrets, remove_secret, rotate_secrets, store_secret
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, serve_outside
from tests.integration.ingress import ADMIN, running_ingress, sign_stripe, write_app

KEY = make_key()
KEYRING = parse_keyring(KEY)
LOCAL = {"secret_key": KEY, "outgoing_allow": "127.0.0.0/8"}
USE = """
workflow: use
parameters: {url: text, status: {type: number, optional: true, default: 200}, fails: {type: boolean, optional: true}}
on: {api: {method: POST, auth: public}}
steps:
  - id: call
    http: "${params.url}/${params.status}"
    query: {token: "${secrets.TOKEN}"}
    headers: {Authorization: "Bearer ${secrets.TOKEN}"}
    json: {token: "${secrets.TOKEN}"}
  - log: "it answered ${steps.call.body.seen}"
  - when: params.fails
    fail: "it answered ${steps.call.body.seen}"
  - return: {body: "${steps.call.body}"}
"""


async def keep(database: Database, name: str, value: str, environment: str = ENVIRONMENT) -> None:
    """What `penstock secret set` does."""
    async with database.connection() as conn:
        await store_secret(conn, environment=environment, name=name, value=value, keyring=KEYRING)


async def echo(request: web.Request) -> web.Response:
    """Sends back all that it was sent, with the status that the path asks for."""
    seen = [request.headers.get("Authorization"), request.query.get("token"), await request.text()]
    return web.json_response({"seen": seen}, status=int(request.path.strip("/")))


async def dump(database: Database) -> str:
    """Every row of every table."""
    async with database.connection() as conn:
        tables = await conn.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('penstock', 'development', 'live')"
        )
        rows: list[Record] = []
        for schema, table in tables:
            rows += await conn.fetch(f'SELECT t::text AS row FROM "{schema}"."{table}" t')
    return "\n".join(row["row"] for row in rows)


async def test_a_stored_secret_is_used_and_a_change_is_seen_without_a_restart(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_TOKEN", "of the environment")
    await house.deploy("""
workflow: guess
parameters: {token: text}
when: params.token == secrets.TOKEN
steps:
  - return: {is_right: true}
""")

    async def is_right(token: str) -> bool:
        state: str = (await house.perform("guess", {"token": token}))["state"]
        return state == "succeeded"

    async with house.executor(**LOCAL):
        assert await is_right("of the environment")
        await keep(house.database, "TOKEN", "stored")
        await eventually(lambda: is_right("stored"))
        assert not await is_right("of the environment")
        async with house.database.connection() as conn:
            assert await remove_secret(conn, environment=ENVIRONMENT, name="TOKEN", actor="test")
        await eventually(lambda: is_right("of the environment"))


async def test_a_secret_of_one_environment_is_none_of_the_other(database: Database) -> None:
    await keep(database, "TOKEN", "of live", "live")
    secrets = Secrets(database, KEYRING)
    await secrets.open()
    assert (secrets.values("live"), secrets.values("development")) == ({"TOKEN": "of live"}, {})


@pytest.mark.parametrize(
    "step",
    [
        'http: "http://127.0.0.1:1/"\n    headers: {A: "${secrets.TOKEN ?? 1}"}',
        "when: secrets.TOKEN == null\n    log: hi",
    ],
)
async def test_a_step_that_needs_a_secret_which_is_not_set_fails_and_names_it(house: House, step: str) -> None:
    await house.deploy(f"workflow: need\nsteps:\n  - id: it\n    {step}\n")
    async with house.executor(**LOCAL):
        run = await house.perform("need")
    assert run["state"] == "failed"
    assert (run["error"]["kind"], run["error"]["step"], run["error"]["place"]) == (
        "secret",
        "it",
        "workflows/all.yaml:3",
    )
    assert run["error"]["message"] == (
        "the secret TOKEN is not set in development; set it with `penstock secret set TOKEN --environment development`,"
        " or as the variable PENSTOCK_SECRET_TOKEN of ingress and executors"
    )


async def test_a_condition_on_a_secret_that_is_not_set_never_holds(house: House) -> None:
    await house.deploy("""
workflow: guarded
parameters: {token: {type: text, optional: true}}
when: params.token == secrets.TOKEN
steps: [{log: in}]
---
workflow: outer
steps: [{trigger: guarded}]
""")
    async with house.executor(**LOCAL):
        assert (await house.perform("guarded"))["error"]["kind"] == "secret"
        assert (await house.perform("outer"))["error"]["kind"] == "secret"


async def test_a_step_that_is_skipped_needs_no_secret(house: House) -> None:
    await house.deploy("""
workflow: careful
steps:
  - when: run.environment == 'live'
    http: "https://example.com/${secrets.LIVE_ONLY}"
""")
    async with house.executor(**LOCAL):
        assert (await house.perform("careful"))["state"] == "succeeded"


async def test_a_secret_stays_out_of_the_database_and_the_events(house: House) -> None:
    secret = 'sk-"live"/0123456789+ä'
    await keep(house.database, "TOKEN", secret)
    await house.deploy(USE)
    events: list[bytes] = []

    async def note(delivery: Delivery) -> None:
        events.append(delivery.message.body)

    await house.broker.subscribe(EVENTS_EXCHANGE, f"{ENVIRONMENT}.run.*", note)
    async with serve_outside(echo) as url, house.executor(**LOCAL):
        runs = [
            await house.perform("use", {"url": url, "status": status, "fails": fails})
            for status, fails in ((200, False), (200, True), (404, False), (503, False))
        ]
        runs.append(await house.perform("use", {"url": "http://127.0.0.1:1/nobody"}))
    assert [run["state"] for run in runs] == ["succeeded", *["failed"] * 4]
    assert runs[0]["result"]["body"]["seen"] == [
        "Bearer [secret TOKEN]",
        "[secret TOKEN]",
        '{"token":"[secret TOKEN]"}',
    ]
    assert "[secret TOKEN]" in runs[1]["error"]["message"]
    await eventually(lambda: len(events) == 10)
    for text in (await dump(house.database), str(events)):
        assert "[secret TOKEN]" in text
        for form in (
            secret,
            json.dumps(secret)[1:-1],
            secret.replace('"', '\\"'),
            secret.replace('"', '""'),
            "0123456789",
        ):
            assert form not in text


async def test_what_a_connector_or_a_receiver_sends_back_holds_no_secret_of_theirs(house: House) -> None:
    await keep(house.database, "TOKEN", "a-long-secret-0123456789")
    async with serve_outside(echo) as url, house.executor(**LOCAL):
        head = (
            f'connectors:\n  api: {{base_url: "{url}", allow_private: true, headers: {{Authorization: "Bearer '
            f'${{secrets.TOKEN}}"}}}}\n'
        )
        await house.deploy(
            """
workflow: call
steps:
  - id: call
    call: api
    path: "200"
  - return: {seen: "${steps.call.body.seen}"}
---
workflow: refused
steps:
  - call: api
    path: "404"
---
workflow: outer
steps:
  - id: inner
    trigger: call
  - return: {seen: "${steps.inner.seen}"}
""",
            head=head,
        )
        called, refused, outer = [await house.perform(name) for name in ("call", "refused", "outer")]
    for run in (called, outer):
        assert run["result"] == {"seen": ["Bearer [secret TOKEN]", None, ""]}
    assert "Bearer [secret TOKEN]" in refused["error"]["message"]
    assert "0123456789" not in await dump(house.database)


async def test_an_early_answer_holds_no_secret(house: House) -> None:
    await keep(house.database, "TOKEN", "a-long-secret-0123456789")
    await house.deploy(USE.replace("auth: public}", "auth: public, respond: on_return}"))
    answers: list[RunAnswer] = []

    async def receive(delivery: Delivery) -> None:
        answers.append(RunAnswer.decode(delivery.message.body))

    queue = await house.broker.open_reply_queue(receive)
    async with serve_outside(echo) as url, house.executor(**LOCAL):
        runs = await house.admit("use", {"url": url})
        await house.publisher.dispatch(runs, {runs[0].id: queue})
        await eventually(lambda: bool(answers))
    assert "[secret TOKEN]" in str(answers[0].result)
    assert "a-long-secret" not in str(answers[0].result)


async def test_an_executor_does_not_start_with_secrets_that_it_cannot_read(house: House) -> None:
    await keep(house.database, "TOKEN", "value")
    for key, reason in (
        (None, "PENSTOCK_SECRET_KEY is not set"),
        (make_key(), f"encrypted with the key {KEYRING.first_id}"),
    ):
        with pytest.raises(ConfigurationError, match=reason) as error:
            async with house.executor(secret_key=key) as executor:
                await asyncio.wait({executor.task})
        assert "TOKEN (development)" in str(error.value)


async def test_a_secret_that_becomes_unreadable_fails_what_needs_it_and_nothing_else(house: House) -> None:
    await keep(house.database, "GOOD", "readable-secret")
    await house.deploy("""
workflow: good
when: secrets.GOOD != ''
steps: [{log: fine}]
---
workflow: bad
when: secrets.BAD != ''
steps: [{log: fine}]
""")
    async with house.executor(**LOCAL):
        assert (await house.perform("good"))["state"] == "succeeded"
        async with house.database.connection() as conn:
            await store_secret(conn, environment=ENVIRONMENT, name="BAD", value="x", keyring=parse_keyring(make_key()))

        async def fails() -> bool:
            message = str((await house.perform("bad"))["error"]["message"])
            return "no key in PENSTOCK_SECRET_KEY decrypts it" in message

        await eventually(fails)
        assert (await house.perform("good"))["state"] == "succeeded"


async def test_a_value_that_was_replaced_stays_out_of_what_runs_that_began_with_it_leave(database: Database) -> None:
    secrets = Secrets(database, KEYRING)
    await keep(database, "TOKEN", "the-first-value")
    await secrets.open()
    await keep(database, "TOKEN", "the-second-value")
    await secrets.refresh()
    redactor = secrets.redactor(ENVIRONMENT, frozenset({"TOKEN"}))
    assert redactor.value(["the-first-value", "the-second-value"]) == ["[secret TOKEN]", "[secret TOKEN]"]
    assert secrets.values(ENVIRONMENT) == {"TOKEN": "the-second-value"}


async def test_rotation_encrypts_all_with_the_new_key(database: Database) -> None:
    new = make_key()
    await keep(database, "A", "first")
    await keep(database, "B", "second", "live")
    secrets = Secrets(database, parse_keyring(f"{new},{KEY}"))
    await secrets.open()
    rotated = await database.in_transaction(
        lambda conn: rotate_secrets(conn, keyring=parse_keyring(f"{new},{KEY}"), actor="test")
    )
    assert [secret.name for secret in rotated] == ["A", "B"]
    await secrets.refresh()
    assert secrets.values("live") == {"B": "second"}
    alone = Secrets(database, parse_keyring(new))
    await alone.open()
    assert alone.values("development") == {"A": "first"}


async def test_rotation_without_the_old_key_changes_nothing(database: Database) -> None:
    await keep(database, "A", "first")
    with pytest.raises(ConfigurationError, match="add the key they were encrypted with"):
        await database.in_transaction(
            lambda conn: rotate_secrets(conn, keyring=parse_keyring(make_key()), actor="test")
        )
    async with database.connection() as conn:
        assert [secret.sealed.key_id for secret in await list_secrets(conn)] == [KEYRING.first_id]


async def test_a_row_that_was_copied_to_another_name_or_environment_does_not_decrypt(database: Database) -> None:
    await keep(database, "A", "first")
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO penstock.secrets (environment, name, key_id, content) SELECT 'live', 'B', key_id, content "
            "FROM penstock.secrets"
        )
    with pytest.raises(ConfigurationError, match=r"do not decrypt: B \(live\)"):
        await Secrets(database, KEYRING).open()


async def test_the_ingress_sees_another_webhook_secret_within_seconds(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path), secret_key=KEY) as ingress:

        async def status(secret: str, number: int) -> int:
            body, headers = sign_stripe({"id": f"evt_{number}"}, secret=secret)
            return (await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)).status

        async def is_accepted(secret: str, number: int) -> bool:
            return await status(secret, number) == 200

        assert await status("one", 1) == 503
        await keep(ingress.database, "STRIPE", "one", "live")
        await eventually(lambda: is_accepted("one", 2))
        await keep(ingress.database, "STRIPE", "two", "live")
        await eventually(lambda: is_accepted("two", 3))
        assert await status("one", 4) == 401


async def test_the_management_api_shows_no_secret_that_a_caller_has_sent(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    secret = 'a "quoted" secret'
    async with running_ingress(database_url, amqp_url, write_app(tmp_path), secret_key=KEY) as ingress:
        await keep(ingress.database, "STRIPE", secret, "live")
        created = await ingress.manage(
            "POST", "/v1/live/runs", json={"workflow": "greet", "parameters": {"name": f"it is {secret}"}}
        )
        run_id = created.json["id"]
        await ingress.finish_run(run_id, result={"greeting": f"hello {secret}"})

        async def show() -> str:
            text = ""
            for path in ("runs", f"runs/{run_id}", f"chains/{run_id}", "logs"):
                text += (await ingress.manage("GET", f"/v1/live/{path}", headers=ADMIN)).body.decode()
            assert "hello [secret STRIPE]" in text
            assert "quoted" not in text
            return text

        await eventually(show)
