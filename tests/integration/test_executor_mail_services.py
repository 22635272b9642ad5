"""`email` steps through SendGrid and Postmark, against servers that answer as their documentation says."""

from dataclasses import dataclass, field
from uuid import UUID

import orjson
import pytest
from aiohttp import web
from pydantic import JsonValue

from penstock.db import Record
from tests.integration.executing import House, serve_outside

MAIL = """
workflow: mail
parameters: {to: any, attachments: {type: any, optional: true}}
retries: {attempts: 1}
steps:
  - id: mail
    email: "${params.to}"
    cc: '"B, C" <cc@example.com>'
    bcc: to@example.com
    reply_to: help@example.com
    subject: "Receipt\\n№ 1"
    text: plain
    html: <p>html</p>
    headers: {List-Unsubscribe: "<https://example.com/u>"}
    attachments: "${params.attachments}"
    retry: {attempts: 3, backoff: 1ms}
  - return: {id: "${steps.mail}"}
"""


@dataclass
class Service:
    """A mail service: checks the key, keeps what it is asked, and answers; `failures` are answered first, as status and
    body.
    """

    requests: list[tuple[str, dict[str, str], dict[str, JsonValue]]] = field(default_factory=list)
    failures: list[tuple[int, JsonValue]] = field(default_factory=list)
    note: str = "OK"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Both services' API."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.path, headers, orjson.loads(await request.read())))
        if self.failures:
            status, body = self.failures.pop(0)
            return web.json_response(body, status=status, headers={"Retry-After": "0"})
        if request.path == "/v3/mail/send" and headers.get("authorization") == "Bearer k-1":
            return web.Response(status=202, headers={"X-Message-Id": "sg-1"})
        if request.path == "/email" and headers.get("x-postmark-server-token") == "k-1":
            return web.json_response(
                {"ErrorCode": 0, "Message": self.note, "MessageID": "pm-1", "To": "to@example.com"}
            )
        return web.json_response(
            {"errors": [{"message": "wrong key"}], "ErrorCode": 10, "Message": "wrong key"}, status=401
        )


async def send(
    house: House,
    service: Service,
    transport: str,
    to: JsonValue = "Ada <to@example.com>",
    key: str = "k-1",
    attachments: JsonValue = None,
) -> Record:
    """Perform the workflow with such a service."""
    async with serve_outside(service.handle) as url:
        settings = (
            f'email: {{from: "Shöp <shop@example.com>", transport: {transport}, api_key: "{key}", base_url: "{url}"}}'
        )
        await house.deploy(MAIL, head=settings)
        async with house.executor(outgoing_allow="127.0.0.1"):
            return await house.perform("mail", {"to": to, "attachments": attachments})


def message_id(run_id: UUID, body: JsonValue) -> str:
    """The Message-ID that was asked for."""
    found = [part for part in orjson.dumps(body).decode().split('"') if part.startswith(f"<{run_id}.")]
    assert len(found) == 1
    return found[0]


async def test_sendgrid_is_asked_as_documented(house: House) -> None:
    service = Service()
    run = await send(house, service, "sendgrid", attachments=[{"name": "ä.txt", "text": "hi"}])
    assert run["result"] == {"id": "sg-1"}
    ((path, headers, body),) = service.requests
    assert (path, headers["idempotency-key"], headers["content-type"]) == (
        "/v3/mail/send",
        f"{run['id']}/mail",
        "application/json",
    )
    assert body == {
        # Each address once: SendGrid refuses repetitions.
        "personalizations": [
            {"to": [{"email": "to@example.com", "name": "Ada"}], "cc": [{"email": "cc@example.com", "name": "B, C"}]},
        ],
        "from": {"email": "shop@example.com", "name": "Shöp"},
        "reply_to_list": [{"email": "help@example.com"}],
        "subject": "Receipt № 1",
        "content": [{"type": "text/plain", "value": "plain"}, {"type": "text/html", "value": "<p>html</p>"}],
        "attachments": [
            {"content": "aGk=", "type": "text/plain; charset=utf-8", "filename": "ä.txt", "disposition": "attachment"},
        ],
        "headers": {"Message-ID": message_id(run["id"], body), "List-Unsubscribe": "<https://example.com/u>"},
        "custom_args": {"idempotency_key": f"{run['id']}/mail"},
    }  # fmt: skip


async def test_postmark_is_asked_as_documented(house: House) -> None:
    service = Service()
    run = await send(house, service, "postmark", attachments=[{"name": "ä.txt", "text": "hi"}])
    assert run["result"] == {"id": "pm-1"}
    ((path, headers, body),) = service.requests
    assert (path, headers["idempotency-key"]) == ("/email", f"{run['id']}/mail")
    assert body == {
        "From": '"Shöp" <shop@example.com>',
        "To": '"Ada" <to@example.com>',
        "Cc": '"B, C" <cc@example.com>',
        "Bcc": "to@example.com",
        "ReplyTo": "help@example.com",
        "Subject": "Receipt № 1",
        "TextBody": "plain",
        "HtmlBody": "<p>html</p>",
        "Headers": [
            {"Name": "Message-ID", "Value": message_id(run["id"], body)},
            {"Name": "X-PM-KeepID", "Value": "true"},
            {"Name": "List-Unsubscribe", "Value": "<https://example.com/u>"},
        ],
        "Metadata": {"run": str(run["id"]), "step": "mail"},
        "Attachments": [{"Name": "ä.txt", "Content": "aGk=", "ContentType": "text/plain; charset=utf-8"}],
    }


@pytest.mark.parametrize(
    ("transport", "status", "body", "message"),
    [
        (
            "sendgrid",
            400,
            {"errors": [{"message": "The to array is required.", "field": "to"}]},
            "SendGrid answered with status 400: The to",
        ),
        ("sendgrid", 413, {"errors": []}, "SendGrid answered with status 413: "),
        (
            "postmark",
            422,
            {"ErrorCode": 406, "Message": "Inactive recipient"},
            "status 422: Inactive recipient (error 406)",
        ),
        (
            "postmark",
            200,
            {"ErrorCode": 300, "Message": "Invalid email request"},
            "status 200: Invalid email request (error 300)",
        ),
    ],
)
async def test_a_refusal_is_told_in_the_words_of_the_service(
    house: House, transport: str, status: int, body: JsonValue, message: str
) -> None:
    service = Service(failures=[(status, body)])
    run = await send(house, service, transport)
    assert (run["state"], run["error"]["kind"], len(service.requests)) == ("failed", "email", 1)
    assert message in run["error"]["message"]


@pytest.mark.parametrize("transport", ["sendgrid", "postmark"])
async def test_an_overloaded_service_is_asked_again_with_the_same_key_and_id(house: House, transport: str) -> None:
    service = Service(failures=[(429, {}), (503, None)])
    run = await send(house, service, transport)
    assert run["error"] is None
    assert len(service.requests) == 3
    assert {headers["idempotency-key"] for _, headers, _ in service.requests} == {f"{run['id']}/mail"}
    assert len({message_id(run["id"], body) for _, _, body in service.requests}) == 1


@pytest.mark.parametrize("transport", ["sendgrid", "postmark"])
async def test_a_wrong_key_and_one_that_is_not_set_are_told(house: House, transport: str) -> None:
    run = await send(house, Service(), transport, key="wrong")
    assert "answered with status 401: wrong key" in run["error"]["message"]
    service = Service()
    run = await send(house, service, transport, key="${secrets.NOT_SET_ANYWHERE}")
    assert (run["error"]["kind"], service.requests) == ("secret", [])
    assert run["error"]["message"].startswith(
        "the secret NOT_SET_ANYWHERE is not set in development; set it with `penstock secret set"
    )


async def test_recipients_whom_postmark_leaves_out_are_reported(house: House) -> None:
    note = "Message OK, but will not deliver to these inactive addresses: bob@example.com."
    run = await send(house, Service(note=note), "postmark", to="to@example.com, bob@example.com")
    assert run["error"] is None
    (line,) = [line for line in await house.logs(run["id"]) if line["event"] == "Sending email failed"]
    assert line["message"] == f"the mail was sent, but Postmark says: {note}"


async def test_a_service_at_a_private_address_is_not_reached(house: House) -> None:
    service = Service()
    async with serve_outside(service.handle) as url:
        await house.deploy(MAIL, head=f'email: {{from: s@x.y, transport: postmark, api_key: k-1, base_url: "{url}"}}')
        async with house.executor():
            run = await house.perform("mail", {"to": "a@b.c"})
    assert (run["error"]["kind"], service.requests) == ("blocked", [])
