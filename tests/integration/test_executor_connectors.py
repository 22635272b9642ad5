"""`call` steps: whose headers they carry, what they may reach, and that no path leads out of the base URL."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from penstock.db import Record
from tests.integration.executing import House, serve_outside

KEY = "sk-very-secret-0123456789"
CONNECTORS = """
connectors:
  model:
    base_url: "${secrets.MODEL_URL}"
    headers: {Authorization: "Bearer ${secrets.MODEL_KEY}", X-Client: shop}
    timeout: 2s
    allow_private: true
"""
CALL = """
workflow: ask
parameters: {path: {type: text, optional: true}}
steps:
  - id: answer
    call: model
    path: "${params.path}"
    query: {version: 2}
    headers: {authorization: Bearer mine, X-Mine: "yes"}
    json: {question: why}
  - return: {status: "${steps.answer.status}", body: "${steps.answer.body}"}
"""


class Model:
    """A service that wants a key."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], str]] = []
        self.elsewhere = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(
            (request.path_qs, {name.lower(): value for name, value in request.headers.items()}, await request.text())
        )
        if request.path.endswith("/away"):
            return web.Response(status=307, headers={"Location": f"{self.elsewhere}/v1/here"})
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": "bad key"}, status=401)
        return web.json_response({"answer": 42})


@pytest.fixture
async def model(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Model]:
    """The service, whose address and key are secrets of the app."""
    model = Model()
    async with serve_outside(model.handle) as url, serve_outside(model.handle) as model.elsewhere:
        monkeypatch.setenv("PENSTOCK_SECRET_MODEL_URL", f"{url}/v1/")
        monkeypatch.setenv("PENSTOCK_SECRET_MODEL_KEY", KEY)
        yield model


async def ask(house: House, path: str | None = None, *, connectors: str = CONNECTORS, workflow: str = CALL) -> Record:
    """The run of a workflow that calls the service, when it has ended."""
    await house.deploy(workflow, head=connectors)
    async with house.executor():
        return await house.perform("ask", {"path": path})


async def test_a_call_has_the_connectors_address_and_headers_and_its_own_arguments(house: House, model: Model) -> None:
    run = await ask(house, "chat/completions")
    assert run["result"] == {"status": 200, "body": {"answer": 42}}
    ((path, headers, body),) = model.requests
    assert (path, json.loads(body)) == ("/v1/chat/completions?version=2", {"question": "why"})
    assert (headers["authorization"], headers["x-client"], headers["x-mine"]) == (f"Bearer {KEY}", "shop", "yes")
    assert headers["idempotency-key"] == f"{run['id']}/answer"
    assert {"traceparent", "baggage"} <= headers.keys()


async def test_a_call_without_a_path_goes_to_the_base_url_itself(house: House, model: Model) -> None:
    assert (await ask(house))["state"] == "succeeded"
    assert model.requests[0][0] == "/v1/?version=2"


async def test_nothing_that_is_stored_or_logged_holds_the_key(house: House, model: Model) -> None:
    run = await ask(house, "x")
    stored = [dict(row) for row in (run, *(await house.steps(run["id"])).values(), *await house.logs(run["id"]))]
    deployed = await house.fetch("SELECT app::text FROM penstock.deployments")
    assert KEY not in f"{stored} {deployed}"


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/x",
        "https://evil.example",
        "../admin",
        "/a/%2e%2e/%2e%2e/admin",
        "\\\\evil",
        "x?admin=1",
        "x#y",
        "a\nb",
    ],
)
async def test_no_path_leads_out_of_the_base_url(house: House, model: Model, path: str) -> None:
    run = await ask(house, path)
    assert (run["state"], run["error"]["kind"], run["error"]["step"]) == ("failed", "arguments", "answer")
    assert "cannot be the path of a call" in run["error"]["message"]
    assert model.requests == []


async def test_a_connector_is_not_private_unless_it_says_so(house: House, model: Model) -> None:
    run = await ask(house, "x", connectors=CONNECTORS.replace("allow_private: true", "allow_private: [10.0.0.0/8]"))
    assert (run["state"], run["error"]["kind"]) == ("failed", "blocked")
    assert "allow_private" in run["error"]["message"]
    assert model.requests == []


async def test_what_one_connector_may_reach_is_no_way_for_another_step(house: House, model: Model) -> None:
    both = CALL.replace("  - return", '  - id: other\n    http: "${secrets.MODEL_URL}x"\n  - return')
    run = await ask(house, "x", workflow=both)
    assert (run["state"], run["error"]["kind"], run["error"]["step"]) == ("failed", "blocked", "other")
    assert len(model.requests) == 1  # the connection is still open, and is not lent


async def test_a_redirect_away_from_the_connector_takes_neither_its_key_nor_its_reach(
    house: House, model: Model
) -> None:
    run = await ask(house, "away")
    assert (run["state"], run["error"]["kind"]) == ("failed", "blocked")
    async with house.executor(outgoing_allow="127.0.0.0/8"):
        run = await house.perform("ask", {"path": "away"})
    assert (run["state"], run["error"]["kind"]) == ("failed", "http")
    path, headers, _ = model.requests[-1]
    assert (path, "authorization" in headers, "x-client" in headers) == ("/v1/here", False, False)


async def test_a_base_url_that_is_none_is_not_repeated(
    house: House, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_MODEL_URL", "ftp://user:hidden@host/")
    run = await ask(house, "x")
    assert (run["state"], run["error"]["kind"]) == ("failed", "arguments")
    assert run["error"]["message"].endswith(
        "the base_url of connector 'model' cannot be called: it has to start with https:// or http:// and name a host"
    )


async def test_a_secret_of_the_connector_that_is_not_set_is_named(
    house: House, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PENSTOCK_SECRET_MODEL_KEY")
    run = await ask(house, "x")
    assert run["state"] == "failed"
    assert "MODEL_KEY" in run["error"]["message"]
    assert model.requests == []
