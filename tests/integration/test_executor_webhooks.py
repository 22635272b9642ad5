"""`send` steps: outgoing webhooks, checked by a receiver of its own that knows nothing of how they were signed."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from aiohttp import web
from multidict import CIMultiDictProxy

from penstock.db import Record
from penstock.outgoing.signing import sign
from tests.integration.executing import House, serve_outside

KEY, OTHER_KEY = b"0123456789abcdef0123456789abcdef", b"fedcba9876543210fedcba9876543210"
SECRET, OTHER_SECRET = (f"whsec_{base64.b64encode(key).decode()}" for key in (KEY, OTHER_KEY))
SEND = """
workflow: tell
parameters: {url: text}
steps:
  - id: told
    send: "${params.url}"
    payload: {type: order.paid, data: {total: 12.5, name: Zoë}}
    secret: "${secrets.HOOK}"
    retry: {attempts: 3, backoff: 1ms}
  - return: {told: "${steps.told}"}
"""


class Receiver:
    """Checks what it gets as the standard's own libraries do, and answers with the statuses it was given, then 204."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.ids: list[str] = []
        self.bodies: list[bytes] = []
        self.genuine: list[list[bytes]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.ids.append(request.headers["webhook-id"])
        self.bodies.append(body)
        self.genuine.append([key for key in (KEY, OTHER_KEY) if is_genuine(key, request.headers, body)])
        status = self.statuses.pop(0) if self.statuses else 204
        headers = {"Location": "/elsewhere"} if status < 400 else {"Retry-After": "0"}
        return web.Response(status=status, text="no" if status >= 400 else None, headers=headers)


def is_genuine(key: bytes, headers: CIMultiDictProxy[str], body: bytes) -> bool:
    """Standard Webhooks 1.0, "Verifying signatures", written from its text."""
    webhook_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(time.time() - int(timestamp)) > 300 or "." in webhook_id:
        return False
    expected = base64.b64encode(
        hmac.new(key, b"%s.%s.%s" % (webhook_id.encode(), timestamp.encode(), body), hashlib.sha256).digest()
    )
    versions = [signature.split(",", 1) for signature in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(given.encode(), expected) for version, given in versions)


async def tell(house: House, receiver: Receiver, *, workflow: str = SEND) -> Record:
    """A run that sends, when it has ended."""
    await house.deploy(workflow)
    async with serve_outside(receiver.handle) as url, house.executor(outgoing_allow="127.0.0.0/8"):
        return await house.perform("tell", {"url": f"{url}/hook"})


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver's secret, as the app has it."""
    monkeypatch.setenv("PENSTOCK_SECRET_HOOK", SECRET)


def test_a_signature_is_that_of_the_standards_own_library() -> None:
    body = (
        '{"id":"evt_1","type":"ping","text":"héllo ☃","webhookTimestamp":1700000000000,"event_id":"sq_1","uuid":"u-1"}'
    ).encode()
    assert sign(KEY, "msg_1", 1_700_000_000, body) == "v1,uE3BcYG7BGQGxLUb0i52XtgPTrZNnksPD0QYV1oju0c="


async def test_a_webhook_is_signed_and_says_whose_it_is(house: House) -> None:
    receiver = Receiver()
    run = await tell(house, receiver)
    assert run["result"] == {"told": {"id": f"{run['id']}/told", "status": 204}}
    assert (receiver.ids, receiver.genuine) == ([f"{run['id']}/told"], [[KEY]])
    assert json.loads(receiver.bodies[0]) == {"type": "order.paid", "data": {"total": 12.5, "name": "Zoë"}}
    assert SECRET not in f"{dict((await house.steps(run['id']))['told'])}{await house.logs(run['id'])}"


async def test_a_webhook_that_is_not_taken_is_sent_again_under_the_same_id(house: House) -> None:
    receiver = Receiver(500, 404)
    run = await tell(house, receiver)
    assert (run["state"], run["attempt"]) == ("succeeded", 1)
    assert (receiver.ids, receiver.genuine) == ([f"{run['id']}/told"] * 3, [[KEY]] * 3)


@pytest.mark.parametrize("status", [410, 302])
async def test_a_receiver_that_is_gone_or_elsewhere_is_not_asked_again(house: House, status: int) -> None:
    receiver = Receiver(status)
    run = await tell(house, receiver)
    assert (run["state"], run["error"]["kind"], len(receiver.ids)) == ("failed", "http", 1)
    assert f"answered with status {status}" in run["error"]["message"]


async def test_while_a_receiver_changes_its_secret_both_sign(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_NEXT", OTHER_SECRET)
    receiver = Receiver()
    both = SEND.replace('secret: "${secrets.HOOK}"', 'secret: ["${secrets.NEXT}", "${secrets.HOOK}"]')
    assert (await tell(house, receiver, workflow=both))["state"] == "succeeded"
    assert receiver.genuine == [[KEY, OTHER_KEY]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("whsec_no base64!", "`secret` has to be whsec_ and a key in base64, as `openssl rand -base64 32` makes one"),
        ("whsec_c2hvcnQ=", "`secret` holds a key of 5 bytes; make one of 24 to 64, as `openssl rand -base64 32` does"),
    ],
)
async def test_a_secret_that_cannot_sign_fails_and_is_not_repeated(
    house: House, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_HOOK", given)
    receiver = Receiver()
    run = await tell(house, receiver)
    assert (run["state"], run["error"]["kind"], receiver.ids) == ("failed", "arguments", [])
    assert run["error"]["message"] == f"send at workflows/all.yaml:5: {message}"
