"""`penstock secret` and the real services: set while they run, used within seconds, and found in no log, row or
answer.
"""

from pathlib import Path

import orjson
import pytest
from aiohttp import web

from penstock.encryption import make_key, parse_keyring
from tests.acceptance.console import clean_environment, penstock
from tests.acceptance.installation import Installation
from tests.eventually import eventually
from tests.integration.executing import serve_outside
from tests.integration.test_secrets import dump

SECRET = "sk-live-0123456789-acceptance"
WORKFLOWS = """
workflow: ask
parameters: {url: text, fails: {type: boolean, optional: true}}
on: {api: {method: POST, auth: public}}
steps:
  - id: call
    http: "${params.url}"
    headers: {Authorization: "Bearer ${secrets.TOKEN}"}
    errors: continue
  - when: params.fails
    fail: "refused: ${steps.call.body}"
  - return: {answer: "${steps.call.body}"}
"""


async def echo(request: web.Request) -> web.Response:
    """Sends the credentials back."""
    return web.json_response({"you sent": request.headers.get("Authorization")}, status=401)


async def test_a_secret_is_set_while_all_runs_and_is_shown_nowhere(installation: Installation) -> None:
    _write_app(installation.directory / "app")
    await installation.prepare(installation.directory / "app")
    key = make_key()
    installation.settings = {
        "PENSTOCK_SECRET_KEY": key,
        "PENSTOCK_OUTGOING_ALLOW": "127.0.0.1",
        "PENSTOCK_LOG_LEVEL": "debug",
    }
    services = await installation.start_all()
    environment = clean_environment(PENSTOCK_DATABASE_URL=installation.database_url, PENSTOCK_SECRET_KEY=key)
    outcome = await penstock("secret", "set", "TOKEN", "-e", "live", environment=environment, stdin=f"{SECRET}\n")
    assert (outcome.code, outcome.out) == (0, "set TOKEN in live\n")

    async with serve_outside(echo) as url:

        async def answer() -> object:
            status, body = await installation.call(services[0], "ask", {"url": url})
            assert status == 200, body
            return body

        expected = {"status": "success", "response": {"answer": {"you sent": "Bearer [secret TOKEN]"}}}
        assert await eventually(answer) == expected
        status, body = await installation.call(services[0], "ask", {"url": url, "fails": True})
    assert status >= 400
    shown = [str(body), await dump(installation.database)]
    shown += [str(await installation.manage(services[0], "GET", path)) for path in ("live/runs", "live/logs")]
    shown += [service.log.read_text() for service in services]
    assert "refused: " in shown[1]
    assert "run.finished" in shown[-1]
    assert [text for text in shown if "0123456789-acceptance" in text] == []

    # What a caller sends is stored as it came; it is not printed that way.
    await installation.call(services[0], "ask", {"url": f"{url}/{SECRET}"})
    listed = (await penstock("runs", "list", "--json", environment=environment)).out
    assert "/[secret TOKEN]" in listed
    show = ("runs", "show", orjson.loads(listed)["results"][0]["id"])
    printed = (
        listed
        + (await penstock(*show, environment=environment)).out
        + (await penstock(*show, "--json", environment=environment)).out
    )
    assert printed.count("[secret TOKEN]") >= 3
    assert SECRET not in printed


async def test_secrets_are_listed_removed_and_encrypted_again(database_url: str) -> None:
    old, new = make_key(), make_key()
    before = clean_environment(PENSTOCK_DATABASE_URL=database_url, PENSTOCK_SECRET_KEY=old)
    for name, environment in (("A", "development"), ("B", "live")):
        assert (
            await penstock("secret", "set", name, "-e", environment, environment=before, stdin="a long value")
        ).code == 0
    listed = (await penstock("secret", "list", "--json", environment=before)).json["results"]
    assert isinstance(listed, list)
    assert [(secret["environment"], secret["name"], secret["is_readable"]) for secret in listed] == [
        ("development", "A", True),
        ("live", "B", True),
    ]
    both = {**before, "PENSTOCK_SECRET_KEY": f"{new},{old}"}
    assert "some encrypted with an old key" in (await penstock("doctor", "--json", environment=both)).out
    assert "2 encrypted again" in (await penstock("secret", "rotate", environment=both)).out
    after = {**before, "PENSTOCK_SECRET_KEY": new}
    text = await penstock("secret", "list", environment=after)
    assert parse_keyring(new).first_id in text.out
    assert "does not hold this key" not in text.out
    assert "does not hold this key" in (await penstock("secret", "list", "-e", "live", environment=before)).out
    assert (await penstock("secret", "remove", "A", environment=after)).code == 0
    gone = await penstock("secret", "remove", "A", environment=after)
    assert (gone.code, gone.err) == (
        1,
        "penstock: development has no stored secret A; `penstock secret list` lists them\n",
    )
    assert (await penstock("secret", "list", "-e", "development", environment=after)).out == "no secret is stored\n"


async def test_without_the_key_nothing_is_stored_and_services_do_not_start(installation: Installation) -> None:
    key = make_key()
    environment = clean_environment(PENSTOCK_DATABASE_URL=installation.database_url)
    refused = await penstock("secret", "set", "TOKEN", environment=environment, stdin="value")
    assert (refused.code, "PENSTOCK_SECRET_KEY is not set" in refused.err) == (1, True)
    assert "openssl rand -base64 32" in refused.err
    with_key = {**environment, "PENSTOCK_SECRET_KEY": key}
    assert (await penstock("secret", "set", "TOKEN", environment=with_key, stdin="long enough")).code == 0
    for service in ("ingress", "executor"):
        given = {
            **environment,
            "PENSTOCK_AMQP_URL": installation.amqp_url,
            "PENSTOCK_SECRET_KEY": make_key(),
            "PENSTOCK_ADMIN_PORT": "0",
        }
        ended = await penstock(service, environment=given)
        assert ended.code == 1
        assert f"encrypted with the key {parse_keyring(key).first_id}" in ended.err
        assert "Traceback" not in ended.err
    found = await penstock("doctor", environment={**environment, "PENSTOCK_SECRET_KEY": make_key()})
    assert found.code == 1
    assert "set them again" in " ".join(found.out.split())


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ("", make_key(), "the value is empty"),
        ("x", "no key", "PENSTOCK_SECRET_KEY: Value error, key 1 of 1 is not base64"),
    ],
    ids=["empty value", "no key"],  # a random key in a test's name would give each worker tests of its own
)
async def test_what_cannot_be_stored_is_said(database_url: str, value: str, key: str, message: str) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url, PENSTOCK_SECRET_KEY=key)
    outcome = await penstock("secret", "set", "TOKEN", environment=environment, stdin=value)
    assert outcome.code == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def _write_app(directory: Path) -> None:
    (directory / "workflows").mkdir(parents=True)
    (directory / "app.yaml").write_text("app: asking\n")
    (directory / "workflows" / "ask.yaml").write_text(WORKFLOWS)
