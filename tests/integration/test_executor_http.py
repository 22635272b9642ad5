"""`http` steps against a real server: what is sent, what comes back, and where they may not go."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from aiohttp import web
from pydantic import JsonValue

from penstock import clock
from penstock.db import Record
from penstock.domain.lineage import Lineage
from penstock.store.installation import Installation
from penstock.things.files import Files, open_file
from tests.integration.executing import ENVIRONMENT, House, serve_outside

CALL = """
workflow: call
parameters: {url: text}
steps:
  - id: call
    http: "${params.url}"
    timeout: 2s
  - return: {status: "${steps.call.status}", body: "${steps.call.body}", headers: "${steps.call.headers}"}
"""


BODIES = {
    "json": (b'{"a": [1, null]}', "application/json", None),
    "text": (b"caf\xe9\x00", "text/plain", "latin-1"),
    "invoice.pdf": (b"%PDF\xff\x00" * 100_000, "application/pdf", None),
    "nul": (b'{"a": "\\u0000"}', "application/json", None),
}


class Server:
    """Answers by path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.elsewhere = ""
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.failures = 2

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.method, request.path_qs, headers, await request.text()))
        match request.path.strip("/").split("/"):
            case [name] if name in BODIES:
                body, content_type, charset = BODIES[name]
                return web.Response(body=body, content_type=content_type, charset=charset, headers={"X-Seen": "yes"})
            case ["status", status]:
                return web.Response(status=int(status), text="sorry", headers={"Retry-After": "0"})
            case ["flaky"]:
                self.failures -= 1
                return web.Response(status=503 if self.failures >= 0 else 200, text="at last")
            case ["large"]:
                return await self.stream(request, 11)
            case ["slow"]:
                await asyncio.Event().wait()
            case ["redirect", status]:
                return web.Response(status=int(status), headers={"Location": "/json"})
            case ["away"]:
                return web.Response(status=302, headers={"Location": f"{self.elsewhere}/json"})
            case ["to", "metadata"]:
                return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"})
            case ["round"]:
                return web.Response(status=302, headers={"Location": "/round"})
            case _:
                pass
        return web.Response(status=404)

    async def stream(self, request: web.Request, mebibytes: int) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(mebibytes):
            await response.write(b"x" * 1024 * 1024)
        return response


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server on 127.0.0.1, and the same under another port."""
    server = Server()
    async with serve_outside(server.handle) as server.url, serve_outside(server.handle) as server.elsewhere:
        yield server


async def call(house: House, url: str, *, allow: str = "127.0.0.0/8") -> Record:
    """Call `url` from a run."""
    await house.deploy(CALL)
    async with house.executor(outgoing_allow=allow):
        return await house.perform("call", {"url": url})


async def test_json_is_parsed_and_the_call_carries_its_idempotency_key(house: House, server: Server) -> None:
    run = await call(house, f"{server.url}/json")
    assert (run["result"]["status"], run["result"]["body"], run["result"]["headers"]["x-seen"]) == (
        200,
        {"a": [1, None]},
        "yes",
    )
    method, _, headers, _ = server.requests[0]
    assert (method, headers["idempotency-key"], headers["user-agent"]) == ("GET", f"{run['id']}/call", "penstock")


async def test_what_is_no_json_is_text_that_can_be_stored(house: House, server: Server) -> None:
    assert (await call(house, f"{server.url}/text"))["result"]["body"] == "café�"
    assert (await call(house, f"{server.url}/nul"))["result"]["body"] == '{"a": "\\u0000"}'


async def test_a_binary_answer_is_kept_as_a_file(house: House, server: Server) -> None:
    await house.deploy("""
workflow: fetch
parameters: {url: text}
steps:
  - id: call
    http: "${params.url}"
  - return: {body: "${steps.call.body}", file: "${steps.call.body_file}"}
""")
    async with house.executor(outgoing_allow="127.0.0.1"):
        run = await house.perform("fetch", {"url": f"{server.url}/invoice.pdf?version=2"})
    file = run["result"]["file"]
    assert run["result"]["body"] is None
    assert (file["name"], file["content_type"], file["size"]) == ("invoice.pdf", "application/pdf", 600_000)
    stored = await open_file(Files(house.database), environment=ENVIRONMENT, id=UUID(file["file"]))
    assert stored is not None
    assert b"".join([chunk async for chunk in stored]) == b"%PDF\xff\x00" * 100_000


async def test_requests_carry_query_headers_and_bodies(house: House, server: Server) -> None:
    await house.deploy("""
workflow: send
parameters: {url: text}
steps:
  - http: "${params.url}/json?a=1"
    method: PUT
    query: {b: [2, x y], c: null}
    headers: {X-Mine: "${1 + 1}", Authorization: Bearer t}
    json: {n: "${params.url == 'x'}"}
  - http: "${params.url}/json"
    form: {a: 1, b: "ä &"}
  - http: "${params.url}/json"
    body: plain
    headers: {Content-Type: text/csv, X-Bad: "a\\r\\nX-Injected: 1"}
""")
    async with house.executor(outgoing_allow="127.0.0.1"):
        assert (await house.perform("send", {"url": server.url}))["error"] is None
    (put, form, plain) = server.requests
    assert (put[0], put[1], put[3]) == ("PUT", "/json?a=1&b=2&b=x+y", '{"n":false}')
    assert (put[2]["x-mine"], put[2]["authorization"], put[2]["content-type"]) == ("2", "Bearer t", "application/json")
    assert (form[0], form[3], form[2]["content-type"]) == (
        "POST",
        "a=1&b=%C3%A4+%26",
        "application/x-www-form-urlencoded",
    )
    assert (plain[3], plain[2]["content-type"], "x-injected" in plain[2]) == ("plain", "text/csv", False)


@pytest.mark.parametrize(("status", "kind"), [(404, "http"), (500, "http"), (429, "http")])
async def test_an_error_status_fails_the_step(house: House, server: Server, status: int, kind: str) -> None:
    run = await call(house, f"{server.url}/status/{status}")
    assert (run["state"], run["error"]["kind"], run["error"]["step"]) == ("failed", kind, "call")
    assert f"answered with status {status}: sorry" in run["error"]["message"]


async def test_errors_continue_makes_any_status_a_result(house: House, server: Server) -> None:
    await house.deploy("""
workflow: call
parameters: {url: text}
steps:
  - id: call
    http: "${params.url}"
    errors: continue
  - return: {status: "${steps.call.status}"}
""")
    async with house.executor(outgoing_allow="127.0.0.1"):
        assert (await house.perform("call", {"url": f"{server.url}/status/503"}))["result"] == {"status": 503}


async def test_a_busy_server_is_asked_again(house: House, server: Server) -> None:
    await house.deploy("""
workflow: patient
parameters: {url: text}
retries: {attempts: 2, backoff: 1h}
steps:
  - create: thing
    set: {name: once}
  - id: call
    http: "${params.url}"
    retry: {attempts: 3, backoff: 1ms}
  - return: {body: "${steps.call.body}"}
""")
    async with house.executor(outgoing_allow="127.0.0.1"):
        run = await house.perform("patient", {"url": f"{server.url}/flaky"})
    assert (run["state"], run["attempt"], run["result"]) == ("succeeded", 1, {"body": "at last"})
    assert len({headers["idempotency-key"] for _, _, headers, _ in server.requests}) == 1
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/json",
        "http://localhost:{port}/json",
        "http://[::ffff:127.0.0.1]:{port}/json",
        "http://0x7f000001:{port}/json",
        "http://[::1]:{port}/json",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
    ],
)
async def test_private_addresses_are_out_of_reach(house: House, server: Server, url: str) -> None:
    run = await call(house, url.format(port=server.url.rpartition(":")[2]), allow="")
    assert (run["state"], run["error"]["kind"]) == ("failed", "blocked")
    assert server.requests == []


async def test_a_redirect_to_a_private_address_is_not_followed(house: House, server: Server) -> None:
    run = await call(house, f"{server.url}/to/metadata", allow="127.0.0.1/32")
    assert (run["state"], run["error"]["kind"]) == ("failed", "blocked")


@pytest.mark.parametrize(
    "url", ["ftp://example.com/x", "http://user:secret@127.0.0.1/", "https:///x", "nothing", "127.0.0.1/json"]
)
async def test_what_is_no_url_to_call_fails(house: House, url: str) -> None:
    run = await call(house, url)
    assert (run["state"], run["error"]["kind"]) == ("failed", "request")
    assert "secret" not in run["error"]["message"]


async def test_an_answer_that_is_too_large_is_not_read(house: House, server: Server) -> None:
    run = await call(house, f"{server.url}/large")
    assert (run["state"], run["error"]["kind"]) == ("failed", "too_large")


async def test_a_server_that_does_not_answer_or_listen_fails_the_step(house: House, server: Server) -> None:
    slow = await call(house, f"{server.url}/slow")
    nobody = await call(house, "http://127.0.0.1:1/")
    assert (slow["state"], slow["error"]["kind"]) == ("failed", "timeout")
    assert (nobody["state"], nobody["error"]["kind"]) == ("failed", "connection")


async def test_redirects_are_followed_a_few_times(house: House, server: Server) -> None:
    assert (await call(house, f"{server.url}/redirect/302"))["result"]["body"] == {"a": [1, None]}
    endless = await call(house, f"{server.url}/round")
    assert (endless["state"], endless["error"]["kind"]) == ("failed", "request")
    assert len([path for _, path, _, _ in server.requests if path == "/round"]) == 4


@pytest.mark.parametrize(
    ("status", "method", "body"), [(303, "GET", ""), (301, "GET", ""), (307, "POST", "hello"), (308, "POST", "hello")]
)
async def test_a_redirect_keeps_or_drops_method_and_body(
    house: House, server: Server, status: int, method: str, body: str
) -> None:
    await house.deploy(
        f"workflow: send\nparameters: {{url: text}}\nsteps:\n  - http: '${{params.url}}/redirect/{status}'\n    body: "
        f"hello\n"
    )
    async with house.executor(outgoing_allow="127.0.0.1"):
        assert (await house.perform("send", {"url": server.url}))["error"] is None
    assert (server.requests[1][0], server.requests[1][3]) == (method, body)


async def test_secrets_do_not_follow_a_redirect_to_another_origin(house: House, server: Server) -> None:
    await house.deploy("""
workflow: send
parameters: {url: text}
steps:
  - http: "${params.url}/away"
    headers: {Authorization: Bearer t, X-Api-Key: k, Accept: text/x}
""")
    async with house.executor(outgoing_allow="127.0.0.1"):
        assert (await house.perform("send", {"url": server.url}))["error"] is None
    first, second = (headers for _, _, headers, _ in server.requests)
    assert (first["authorization"], first["x-api-key"]) == ("Bearer t", "k")
    assert ("authorization" in second, "x-api-key" in second, second["accept"]) == (False, False, "text/x")


async def test_a_call_says_its_trace_chain_and_depth(house: House, server: Server) -> None:
    await house.deploy(
        "workflow: twice\nparameters: {url: text}\nsteps:\n"
        "  - {http: '${params.url}/json'}\n  - {http: '${params.url}/json', headers: {Baggage: mine=1}}\n"
    )
    async with house.executor(outgoing_allow="127.0.0.1"):
        run = await house.perform("twice", {"url": server.url})
    first, second = (headers for _, _, headers, _ in server.requests)
    seal = await Installation(house.database).find_seal()
    assert seal.read(first["baggage"], clock.now()) == Lineage(1, run["chain_id"], run["id"])
    assert second["baggage"].endswith(",mine=1")
    traces = [headers["traceparent"].split("-") for headers in (first, second)]
    assert {trace[1] for trace in traces} == {run["chain_id"].hex}
    assert len({trace[2] for trace in traces}) == 2


async def test_what_others_said_of_the_request_goes_on_with_the_calls_of_its_run(house: House, server: Server) -> None:
    await house.deploy(CALL)
    trace: dict[str, JsonValue] = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "tracestate": "v=1",
        "baggage": "tenant=a;x=1,user=b",
    }  # fmt: skip
    async with house.executor(outgoing_allow="127.0.0.1"):
        runs = await house.admit("call", {"url": f"{server.url}/away"}, depth=3, context={"trace": trace})
        await house.publisher.dispatch(runs)
        await house.ended(runs[0].id)
    seal = await Installation(house.database).find_seal()
    for _, _, headers, _ in server.requests:  # the second is at another origin
        assert headers["traceparent"].startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
        assert (headers["traceparent"][-3:], headers["tracestate"]) == ("-00", "v=1")
        assert headers["baggage"].partition(",")[2] == "tenant=a;x=1,user=b"
        assert seal.read(headers["baggage"], clock.now()) == Lineage(4, runs[0].chain_id, runs[0].id)
    assert len(server.requests) == 2
