"""The log over HTTP: search, export and server-sent events, for those who may see it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import quote

import aiohttp
import pytest

from penstock import clock
from penstock.domain.ids import new_run_id
from penstock.http_server.event_stream import MAX_STREAMS
from penstock.store.logs import LogEvent, LogLine, write_logs
from penstock.things.records import NewThing, create_things
from penstock.things.tables import USER
from tests.hostile import Kind, of_kind
from tests.integration.ingress import ADMIN, PARTNER_SECRET, Ingress, running_ingress, write_app

USER_ID, EMAIL = "1700000000000x000000000000000001", "ada@example.com"
LOGS, STREAM = "/v1/live/logs", "/v1/live/logs/stream"
Headers = Mapping[str, str]


class Event(NamedTuple):
    """A line that a stream has sent."""

    id: str
    line: Mapping[str, object]


@pytest.fixture
async def ingress(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ingress]:
    monkeypatch.setenv("PENSTOCK_SECRET_PARTNER", PARTNER_SECRET)
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        async with running.database.connection() as conn:
            await create_things(conn, environment="live", data_type=USER, things=[NewThing(USER_ID, {"email": EMAIL})])
        yield running


async def write(ingress: Ingress, *messages: str, level: str = "info") -> None:
    """Lines of a run that works for a user."""
    lines = [
        LogLine(
            clock.now(), "live", level, LogEvent.OUTPUT, message, new_run_id(), workflow="greet", user_id=USER_ID
        )
        for message in messages
    ]  # fmt: skip
    async with ingress.database.connection() as conn:
        await write_logs(conn, lines)


async def search(ingress: Ingress, query: str, headers: Headers = ADMIN) -> list[dict[str, object]]:
    answer = await ingress.manage("GET", f"{LOGS}?{query}", headers=headers)
    assert answer.status == 200, answer.body
    return cast("list[dict[str, object]]", answer.json["results"])


async def make(ingress: Ingress, **wanted: object) -> tuple[str, Headers]:
    """The id of a new token, and what its bearer sends."""
    made = (await ingress.manage("POST", "/v1/live/tokens", json=wanted)).json
    return str(made["id"]), {"Authorization": f"Bearer {made['token']}"}


@asynccontextmanager
async def streaming(
    ingress: Ingress, query: str = "", headers: Headers = ADMIN, *, after: str | None = None
) -> AsyncIterator[aiohttp.ClientResponse]:
    """An open stream, which has begun to look."""
    sent = {**headers, **({} if after is None else {"Last-Event-ID": after})}
    async with ingress.http.get(f"{ingress.admin_url}{STREAM}?{query}", headers=sent) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream"), await response.text()
        assert await response.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
        yield response


async def read(stream: aiohttp.ClientResponse, count: int) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(10):
        while len(events) < count:
            block = (await stream.content.readuntil(b"\n\n")).decode()
            if "data: " in block:
                fields = dict(line.split(": ", 1) for line in block.strip().split("\n"))
                events.append(Event(fields["id"], json.loads(fields["data"])))
    return events


def messages(events: list[Event]) -> list[object]:
    return [event.line["message"] for event in events]


async def test_lines_are_searched_by_each_filter(ingress: Ingress) -> None:
    await write(ingress, "charged ord-7 for Ada", "refunded ord-8")
    await write(ingress, "could not charge ord-9", level="error")
    for query, found in {
        "contains=ord-7": ["charged ord-7 for Ada"],
        "contains=%27charge+ord%27+OR+refunded": ["could not charge ord-9", "refunded ord-8"],
        "level=warning": ["could not charge ord-9"],
        f"user={EMAIL.upper()}&contains=refunded": ["refunded ord-8"],
        f"user={USER_ID}&level=error": ["could not charge ord-9"],
        "user=nobody@example.com": [],
        "workflow=greet&contains=refunded": ["refunded ord-8"],
        "workflow=other": [],
        "kinds=running_action,http_request": [],
        "kinds=plugin_action_console_output&level=error": ["could not charge ord-9"],
        "until=2001-01-01T00:00:00Z": [],
    }.items():
        lines = await search(ingress, query)
        assert [line["message"] for line in lines] == found, query
        assert {line["user_email"] for line in lines} <= {EMAIL}
    for query, detail in {
        "kinds=nothing": "kinds: 'nothing' is not a kind of line",
        "level=loud": "level: expected one of debug, info",
        "contains=***": "contains: each word and phrase needs a letter or a digit",
        f"contains={'x' * 1001}": "contains: at most 1000 characters",
        f"contains={quote(' OR '.join(['x'] * 60))}": "contains: at most 50 words",
        "contains=%00": "contains: expected text without NUL",
        "after=garbage": "after: expected what an earlier page gave",
    }.items():
        answer = await ingress.manage("GET", f"{LOGS}?{query}")
        assert answer.status == 400, answer.body
        assert str(answer.json["detail"]).startswith(detail)
    assert (await ingress.manage("GET", f"{LOGS}?contains={'x+OR+' * 10_000}y")).status == 431


async def test_any_text_that_is_looked_for_is_an_answer_or_a_refusal(ingress: Ingress) -> None:
    await write(ingress, "a line")
    for hostile in of_kind(Kind.TEXT):
        if len(hostile.raw) < 1000:  # a request line that is too long is refused before anybody looks at it
            query = "&".join(f"{name}={quote(hostile.raw)}" for name in ("contains", "user", "workflow"))
            answer = await ingress.manage("GET", f"{LOGS}?{query}")
            assert answer.status in {200, 400}, (hostile.name, answer.body)


async def test_an_export_holds_every_line_once_without_secrets(ingress: Ingress) -> None:
    await write(ingress, *(f"line {number}" for number in range(1200)), f"the key is {PARTNER_SECRET}")
    answer = await ingress.manage("GET", f"{LOGS}/export?workflow=greet")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == 1201
    assert lines[0]["message"] == "the key is [secret PARTNER]"
    assert (await ingress.manage("GET", f"{LOGS}/export?contains=nowhere")).body == b""


async def test_who_sees_no_payloads_sees_lines_without_what_is_in_them(ingress: Ingress) -> None:
    _, headers = await make(ingress, role="viewer", payloads=False)
    async with streaming(ingress, headers=headers) as stream:
        await write(ingress, "charged 5 for Ada")
        streamed = (await read(stream, 1))[0].line
    exported = json.loads((await ingress.manage("GET", f"{LOGS}/export", headers=headers)).body)
    (listed,) = await search(ingress, f"user={USER_ID}", headers)
    for line in (streamed, exported, listed):
        assert (line["event"], line["workflow"], line["user_id"]) == (LogEvent.OUTPUT, "greet", USER_ID)
        assert line["message"] is line["details"] is line["user_email"] is None
    for query in ("contains=Ada", f"user={EMAIL}"):
        for path in (LOGS, f"{LOGS}/export", STREAM):
            assert (await ingress.manage("GET", f"{path}?{query}", headers=headers)).status == 403


async def test_a_token_of_one_workflow_sees_the_log_of_that_one_alone(ingress: Ingress) -> None:
    _, headers = await make(ingress, role="viewer", workflows=["greet"])
    await write(ingress, "mine")
    assert len(await search(ingress, "workflow=greet", headers)) == 1
    for path in (LOGS, f"{LOGS}/export", STREAM):
        for query in ("", "?workflow=look"):
            assert (await ingress.manage("GET", path + query, headers=headers)).status == 403


async def test_a_stream_sends_what_is_written_and_continues_where_it_ended(ingress: Ingress) -> None:
    await write(ingress, "before")
    async with streaming(ingress, "contains=ord") as stream:
        await write(ingress, "ord-1", "ord-2", "something else", f"ord-3 {PARTNER_SECRET}")
        seen = await read(stream, 3)
    assert messages(seen) == ["ord-1", "ord-2", "ord-3 [secret PARTNER]"]
    async with streaming(ingress, "contains=ord") as stream:
        first = (await stream.content.readuntil(b"\n\n")).decode()
    await write(ingress, "ord-4")
    async with streaming(ingress, "contains=ord", after=first.strip().removeprefix("id: ")) as stream:
        assert messages(await read(stream, 1)) == ["ord-4"]
    for number, event in enumerate(seen, start=1):
        async with streaming(ingress, "contains=ord", after=event.id) as stream:
            rest = await read(stream, 4 - number)
            assert messages(rest) == [*messages(seen)[number:], "ord-4"]
    async with streaming(ingress, f"contains=ord&after={quote(seen[-1].id)}") as stream:
        assert messages(await read(stream, 1)) == ["ord-4"]
    answer = await ingress.manage("GET", STREAM, headers={**ADMIN, "Last-Event-ID": "garbage"})
    assert (answer.status, str(answer.json["detail"])[:14]) == (400, "Last-Event-ID:")


async def test_a_stream_ends_when_its_token_is_revoked(ingress: Ingress) -> None:
    id, headers = await make(ingress, role="viewer")
    async with streaming(ingress, headers=headers) as stream:
        assert (await ingress.manage("DELETE", f"/v1/live/tokens/{id}")).status == 200
        async with asyncio.timeout(15):
            assert b"data" not in await stream.content.read()
    assert (await ingress.manage("GET", STREAM, headers=headers)).status == 401


async def test_streams_are_bounded_and_end_when_the_process_does(ingress: Ingress) -> None:
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(streaming(ingress)) for _ in range(MAX_STREAMS)]
        refused = await ingress.manage("GET", STREAM)
        assert (refused.status, refused.headers["retry-after"]) == (503, "10")
        ingress.stop.request()
        for stream in streams:
            assert b"data" not in await stream.content.read()


async def test_a_client_that_hangs_up_during_an_export_is_no_failure(
    ingress: Ingress, capsys: pytest.CaptureFixture[str]
) -> None:
    await write(ingress, *(f"{number} {'x' * 20_000}" for number in range(1_000)))
    async with aiohttp.ClientSession(headers=ADMIN) as http:
        response = await http.get(f"{ingress.admin_url}{LOGS}/export")
        await response.content.readexactly(10_000)
        response.close()
    whole = await ingress.manage("GET", f"{LOGS}/export")  # after it: the first one has met its end
    assert whole.body.count(b"\n") == 1_000
    assert "request.failed" not in capsys.readouterr().out
