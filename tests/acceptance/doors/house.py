"""The installation that hostile values are sent to: an app that hands every value back, a server of answers, a mail
server, and what is looked at when all is over.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

import aiohttp

from tests.acceptance.installation import ADMIN_TOKEN, Installation, Service
from tests.hostile import Hostile, Kind, Outcome, of_kind
from tests.mail_server import MailServer

PARTNER: Final = "partner-secret-0123456789"
ADMIN: Final = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
_AT_ONCE: Final = 16
_KEEP: Final = "return: {whole: '${params.value}', inside: '<${params.value}>', length: '${len(params.value)}'}"
_FILES: Final = {
    "app.yaml": """\
app: hostile
python: [corpus]
sources:
  partner:
    scheme: hmac
    secrets: ["${secrets.PARTNER}"]
    algorithm: sha256
    encoding: hex
    header: X-Signature
    signed: "{body}"
    deduplicate: {payload: id}
    type: {payload: type}
""",
    "types/row.yaml": "type: row\nfields: {label: text, content: text}\n",
    "workflows/keep.yaml": f"""\
workflow: keep_text
parameters: {{value: text}}
on: {{api: {{method: POST, auth: admin}}}}
steps:
  - create: row
    set: {{label: kept, content: "${{params.value}}"}}
  - {_KEEP}
---
workflow: keep_any
parameters: {{value: any}}
on: {{api: {{method: POST, auth: admin}}}}
steps:
  - return: {{whole: "${{params.value}}"}}
---
workflow: keep_date
parameters: {{value: date}}
on: {{api: {{method: POST, auth: admin}}}}
steps:
  - return: {{whole: "${{params.value}}"}}
---
workflow: say
parameters: {{value: text}}
on: {{api: {{method: POST, auth: admin}}}}
steps:
  - log: "${{params.value}}"
  - state: {{said: "${{params.value}}"}}
  - fail: "${{state.said}}"
---
workflow: later
parameters: {{at: any}}
on: {{api: {{method: POST, auth: admin}}}}
steps:
  - schedule: keep_any
    with: {{value: 1}}
    at: "${{params.at}}"
---
workflow: received
on: {{webhook: {{source: partner, types: ["*"]}}}}
steps:
  - return: {{whole: "${{webhook.payload.value}}", headers: "${{webhook.headers}}"}}
---
workflow: ask
parameters: {{url: text}}
on: {{api: {{method: POST, auth: admin}}}}
steps:
  - id: asked
    http: "${{params.url}}"
    errors: continue
  - return: {{body: "${{steps.asked.body}}", headers: "${{steps.asked.headers}}"}}
---
workflow: write_to
parameters: {{to: text}}
on: {{api: {{method: POST, auth: admin}}}}
steps:
  - email: "${{params.to}}"
    subject: "${{params.to}}"
    text: "${{params.to}}"
  - return: {{sent: true}}
---
workflow: take_in
parameters: {{file: any, raw: boolean}}
on: {{api: {{method: POST, auth: admin}}}}
steps:
  - id: taken
    import: row
    from: "${{params.file}}"
    raw: "${{params.raw}}"
  - return: "${{steps.taken}}"
---
workflow: give_out
on: {{api: {{method: POST, auth: admin}}}}
steps:
  - id: file
    export: row
    where: {{label: cell}}
  - return: "${{steps.file}}"
""",
}


@dataclass
class House:
    """The running installation, and what fell short so far."""

    installation: Installation
    ingress: Service
    answers: str
    mail: MailServer
    failures: list[str] = field(default_factory=list)

    def note(self, door: str, row: Hostile | str, what: object) -> None:
        """A value that did not have its outcome at a door."""
        named = row if isinstance(row, str) else f"{row.kind} {row.name}"
        self.failures.append(f"{door}: {named}: {str(what)[:300]}")

    async def post(self, url: str, body: bytes, **headers: str) -> tuple[int, object]:
        """POST these bytes, as JSON unless a header says otherwise; status, and the answer with exact numbers."""
        all_headers = {**ADMIN, "Content-Type": "application/json", **headers}
        async with self.installation.http.post(url, data=body, headers=all_headers) as response:
            return response.status, _decode(await response.read())

    async def get(self, url: str, **query: str) -> tuple[int, object]:
        """GET as an admin."""
        async with self.installation.http.get(url, params=query, headers=ADMIN) as response:
            return response.status, _decode(await response.read())

    async def call(self, workflow: str, body: bytes) -> tuple[int, object]:
        """Call an API workflow in live."""
        return await self.post(f"{self.ingress.url}/api/1.1/wf/{workflow}", body)

    async def manage(self, path: str, body: bytes, **headers: str) -> tuple[int, object]:
        """POST to the management API of live."""
        return await self.post(f"{self.ingress.admin_url}/v1/live/{path}", body, **headers)

    async def webhook(self, body: bytes, **headers: str) -> tuple[int, object]:
        """A delivery of the source `partner`, rightly signed."""
        signature = hmac.new(PARTNER.encode(), body, hashlib.sha256).hexdigest()
        return await self.post(f"{self.ingress.url}/webhooks/partner", body, **{"X-Signature": signature, **headers})

    async def result_of(self, run_id: object) -> tuple[str, object, object]:
        """State, result and error of a run, with exact numbers."""
        async with self.installation.database.connection() as conn:
            row = await conn.fetchrow(
                "SELECT state, result::text, error::text FROM penstock.runs WHERE id = $1::text::uuid",
                str(run_id),
            )
        assert row is not None
        return row["state"], _decode((row["result"] or "null").encode()), _decode((row["error"] or "null").encode())


def write_app(directory: Path) -> Path:
    """The app, with a Python module that holds the texts of the table."""
    for name, text in _FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    texts = [row.text for row in of_kind(Kind.TEXT)]
    (directory / "corpus.py").write_text(f"TEXTS = {texts!a}\n{_PYTHON}")
    return directory


_PYTHON: Final = """

from penstock import App, Context, Permanent, api

app = App()


class Wordless(Exception):
    def __str__(self):
        raise ValueError("no words")


WRONG = [
    lambda: {"value": float("nan")},
    lambda: {"value": float("inf")},
    lambda: {"value": b"bytes"},
    lambda: {"value": object()},
    lambda: {1: 2},
    lambda: {(1, 2): 3},
    lambda: [1],
    lambda: "text",
    lambda: {"value": {1, 2}},
    lambda: _circle(),
    lambda: _deep(),
    lambda: _raise(Wordless()),
    lambda: _raise(KeyError()),
    lambda: _raise(SystemExit(3)),
    lambda: _raise(KeyboardInterrupt()),
    lambda: _raise(StopIteration()),
    lambda: _raise(RecursionError()),
    lambda: _raise(MemoryError()),
    lambda: _raise(GeneratorExit()),
    lambda: _raise(ExceptionGroup("many", [ValueError("\\ud800"), Wordless()])),
    lambda: _raise(UnicodeDecodeError("utf-8", b"\\xff", 0, 1, "x")),
]


def _circle():
    value = {}
    value["value"] = value
    return value


def _deep():
    value = {}
    for _ in range(100_000):
        value = {"value": value}
    return value


def _raise(error):
    raise error


@app.workflow(on=[api(auth="admin")])
async def give(ctx: Context, index: int):
    return {"whole": TEXTS[index]}


@app.workflow(on=[api(auth="admin")])
async def fail_with(ctx: Context, index: int):
    raise Permanent(TEXTS[index])


@app.workflow(on=[api(auth="admin")])
async def go_wrong(ctx: Context, index: int):
    return WRONG[index]()
"""
WRONG_RESULTS: Final = 21


def _decode(body: bytes) -> object:
    try:
        decoded: object = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
    return decoded


def dig(value: object, *path: str) -> object:
    """A member of a member of a decoded answer; None where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def is_clear(status: int, answer: object) -> bool:
    """Whether this refuses, in words."""
    said = dig(answer, "detail") or dig(answer, "title") or dig(answer, "body", "message") or dig(answer, "args")
    return 400 <= status < 500 and bool(said or dig(answer, "error_class"))


def as_json(value: str) -> bytes:
    """A text as JSON of ASCII only; halves of pairs as escapes."""
    return json.dumps(value).encode()


def storable(text: str) -> str:
    """What is there of a text that nobody can correct any more."""
    return "".join("\ufffd" if sign == "\x00" or "\ud800" <= sign <= "\udfff" else sign for sign in text)


def expected(row: Hostile) -> str:
    """What is there of a text at a door at which nobody can correct it."""
    return storable(row.text) if row.outcome is Outcome.UNSTORABLE else row.text


async def each(rows: Iterable[Hostile], work: Callable[[Hostile], Awaitable[None]]) -> None:
    """Do it for all rows, several at a time."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(row: Hostile) -> None:
        async with free:
            await work(row)

    await asyncio.gather(*(one(row) for row in rows))


def unlimited() -> aiohttp.ClientTimeout:
    """For answers that wait for a run."""
    return aiohttp.ClientTimeout(total=60)
