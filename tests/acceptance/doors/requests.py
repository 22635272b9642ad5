"""The doors of HTTP: API parameters, webhooks, their headers, and the management API."""

import asyncio
import json
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote, urlsplit

from tests.acceptance.doors.house import House, as_json, dig, each, is_clear, storable
from tests.acceptance.installation import ADMIN_TOKEN
from tests.eventually import eventually
from tests.hostile import HOSTILE, Hostile, Kind, Outcome, of_kind


async def api_parameters(house: House) -> None:
    """Every row as a parameter, a name or a body of an API workflow."""

    async def send(row: Hostile) -> None:
        status, answer = await house.call(_WORKFLOWS[row.kind], _body(row))
        if row.outcome in {Outcome.REFUSED, Outcome.UNSTORABLE}:
            is_replaced = row.outcome is Outcome.UNSTORABLE and dig(answer, "response", "whole") == storable(row.text)
            if not is_clear(status, answer) and not is_replaced:
                house.note("API parameter", row, (status, answer))
        elif status != 200 or not _is_same(row, dig(answer, "response")):
            house.note("API parameter", row, (status, answer))

    await each([row for row in HOSTILE if row.kind is not Kind.HEADER], send)


async def api_names(house: House) -> None:
    """Names as parts of a path: there is no such workflow, type or run."""

    async def send(row: Hostile) -> None:
        name = quote(row.text, safe="")
        for path in (f"wf/{name}", f"obj/{name}", f"obj/row/{name}", f"runs/{name}"):
            status, answer = await house.get(f"{house.ingress.url}/api/1.1/{path}")
            if not 400 <= status < 500:
                house.note("API name", row, (path, status, answer))

    await each([*of_kind(Kind.NAME), *of_kind(Kind.TEXT, Outcome.KEPT)], send)


async def said(house: House) -> None:
    """Texts that a workflow logs, keeps in its state, and fails with."""

    async def send(row: Hostile) -> None:
        status, answer = await house.call("say", b'{"value": %s}' % as_json(row.text))
        if status != 400 or (
            row.outcome is Outcome.KEPT and row.text.strip() and dig(answer, "body", "message") != row.text
        ):
            house.note("log, state and fail", row, (status, answer))

    await each([row for row in of_kind(Kind.TEXT) if len(row.text) < 1000], send)


async def webhook_payloads(house: House) -> None:
    """Every row as a payload, rightly signed; what was taken is what the run sees."""
    sent: list[tuple[Hostile, str]] = []

    async def send(row: Hostile) -> None:
        body = _delivery(row, str(len(sent)))
        sent.append((row, ""))
        status, answer = await house.webhook(body)
        runs = dig(answer, "run_ids")
        if row.outcome is Outcome.REFUSED and row.kind in {Kind.NUMBER, Kind.BODY}:
            if not is_clear(status, answer) and not (row.kind is Kind.BODY and status == 200):
                house.note("webhook payload", row, (status, answer))
        elif status != 200 or not isinstance(runs, list) or len(runs) != 1:
            house.note("webhook payload", row, (status, answer))
        else:
            await _check_run(house, "webhook payload", row, runs[0])

    await each([row for row in HOSTILE if row.kind is not Kind.HEADER], send)


async def _check_run(house: House, door: str, row: Hostile, run_id: object) -> None:
    found: list[tuple[str, object, object]] = []

    async def has_ended() -> bool:
        found[:] = [await house.result_of(run_id)]
        return found[0][0] in {"succeeded", "failed"}

    await eventually(has_ended, within=40, every=0.1)
    state, result, error = found[0]
    wanted = _payload_value(row)
    got = dig(result, "whole")
    if state != "succeeded" or not _is_equal(got, wanted):
        house.note(door, row, (state, got, error))


def _payload_value(row: Hostile) -> object:
    if row.kind is Kind.NUMBER:
        return Decimal(row.text)
    if row.kind is Kind.BODY:
        return "a\U0001f600/" if row.name == "escapes" else "a"
    # Nobody can correct a delivery that its sender has signed.
    return storable(row.text)


def _delivery(row: Hostile, id: str) -> bytes:
    if row.kind is Kind.BODY:
        return row.raw
    value = row.raw if row.kind is Kind.NUMBER else as_json(row.text)
    return b'{"id": "%s", "type": "x", "value": %s}' % (f"hostile-{row.kind}-{id}".encode(), value)


async def headers(house: House) -> None:
    """Every header, byte by byte, to an API workflow and to the webhook of a source."""
    neighbour = b'{"value": "neighbour"}'

    async def send(row: Hostile) -> None:
        for path, more in (
            ("/api/1.1/wf/keep_text", b"X-Hostile"),
            ("/api/1.1/wf/keep_text", b"Idempotency-Key"),
            ("/api/1.1/wf/keep_text", b"traceparent"),
            ("/api/1.1/wf/keep_text", b"baggage"),
            ("/api/1.1/wf/keep_text", b"Prefer"),
            ("/api/1.1/wf/keep_text", b"Cookie"),
            ("/webhooks/partner", b"X-Signature"),
        ):
            status = await _raw_request(house.ingress.url, path, more, row.raw, neighbour)
            refuses = status is None or 400 <= status < 500
            is_right = refuses if row.outcome is Outcome.REFUSED else refuses or status in {200, 202}
            if not is_right or (status != 200 and row.outcome is Outcome.TAKEN and more == b"X-Hostile"):
                house.note(f"header {more.decode()}", row, status)

    await each(of_kind(Kind.HEADER), send)


async def _raw_request(url: str, path: str, name: bytes, value: bytes, body: bytes) -> int | None:
    """The status of the answer to a request with such a header; None when the connection was closed without one."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        lines = [
            b"POST %s HTTP/1.1" % path.encode(), b"Host: x", b"Authorization: Bearer " + ADMIN_TOKEN.encode(),
            b"Content-Type: application/json", b"Content-Length: %d" % len(body), b"Connection: close",
            name + b": " + value,
        ]  # fmt: skip
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        async with asyncio.timeout(60):
            line = await reader.readline()
        return int(line.split()[1]) if line else None
    except ConnectionError:
        return None
    finally:
        writer.close()


async def management(house: House) -> None:
    """Parameters, idempotency keys, times, searches and signals of the management API."""

    async def send(row: Hostile) -> None:
        if row.kind is Kind.TIME:
            body = b'{"workflow": "keep_any", "parameters": {"value": 1}, "at": %s}' % as_json(row.text)
            status, answer = await house.manage("runs", body)
            if not (status == 201 if row.outcome is Outcome.KEPT else is_clear(status, answer)):
                house.note("management API, at", row, (status, answer))
            return
        value = row.raw if row.kind is Kind.NUMBER else as_json(row.text)
        status, answer = await house.manage("runs", b'{"workflow": "keep_any", "parameters": {"value": %s}}' % value)
        if row.outcome is Outcome.KEPT and status == 201:
            await _check_run(house, "management API", row, dig(answer, "id"))
        elif row.outcome is Outcome.KEPT or not is_clear(status, answer):
            house.note("management API", row, (status, answer))

    await each([*of_kind(Kind.TEXT), *of_kind(Kind.NUMBER), *of_kind(Kind.TIME), *of_kind(Kind.NAME)], send)


async def management_names(house: House) -> None:
    """Texts as keys, searches, names of signals and filters: taken or refused."""

    async def send(row: Hostile) -> None:
        text = as_json(row.text)
        requests = [
            (
                "idempotency_key",
                house.manage(
                    "runs", b'{"workflow": "keep_any", "parameters": {"value": 1}, "idempotency_key": %s}' % text
                ),
            ),
            ("workflow", house.manage("runs", b'{"workflow": %s, "parameters": {}}' % text)),
            ("unknown key", house.manage("runs", b'{"workflow": "keep_any", %s: 1}' % text)),
            ("signal", house.manage(f"signals/{quote(row.raw, safe='')}", b'{"value": %s}' % text)),
            (
                "after",
                house.manage("runs", b'{"workflow": "keep_any", "parameters": {"value": 1}, "after": %s}' % text),
            ),
        ]
        if row.outcome is Outcome.KEPT and len(row.text) < 1000:
            url = f"{house.ingress.admin_url}/v1/live/runs"
            requests += [
                (name, house.get(url, **{name: row.text}))
                for name in ("contains", "workflow", "since", "after", "state")
            ]
        for name, request in requests:
            status, answer = await request
            if not (200 <= status < 300 or is_clear(status, answer)):
                house.note(f"management API, {name}", row, (status, answer))

    await each([*of_kind(Kind.TEXT), *of_kind(Kind.NAME), *of_kind(Kind.TIME)], send)


_WORKFLOWS = {
    Kind.TEXT: "keep_text",
    Kind.NUMBER: "keep_any",
    Kind.TIME: "keep_date",
    Kind.NAME: "keep_any",
    Kind.BODY: "keep_text",
}


def _body(row: Hostile) -> bytes:
    if row.kind is Kind.BODY:
        return row.raw
    if row.kind is Kind.NUMBER:
        return b'{"value": %s}' % row.raw
    if row.kind is Kind.NAME:
        return b'{"value": {%s: %s}, %s: 1}' % ((as_json(row.text),) * 3)
    return b'{"value": %s}' % as_json(row.text)


def _is_same(row: Hostile, response: object) -> bool:
    whole = dig(response, "whole")
    if row.kind is Kind.TEXT:
        wanted = {"whole": row.text, "inside": f"<{row.text}>", "length": Decimal(len(row.text))}
        return response == wanted or (not row.text and whole in {None, ""})
    if row.kind is Kind.NAME:
        return whole == {row.text: row.text}
    if row.kind is Kind.BODY:
        return whole in {"a", "a\U0001f600/"}
    wanted_value: object = Decimal(row.text) if row.kind is Kind.NUMBER else row.means
    return _is_equal(whole, wanted_value)


def _is_equal(got: object, wanted: object) -> bool:
    if isinstance(got, str) and isinstance(wanted, str) and got != wanted:
        try:
            return datetime.fromisoformat(got) == datetime.fromisoformat(wanted)
        except ValueError:
            return False
    return got == wanted or json.dumps(got, default=str) == json.dumps(wanted, default=str)
