"""Thousands of hostile bodies at both doors of a real ingress: every one has an answer, and memory stays bounded."""

import asyncio
import hashlib
import hmac
import os
import re
import time
from collections import Counter
from pathlib import Path

from tests.acceptance.hostile_bodies import Hostile, generate
from tests.acceptance.installation import STRIPE_SECRET, Installation, Service

COUNT = int(os.environ.get("PENSTOCK_TEST_HOSTILE_BODIES", "600"))
"""All 10,000 take some minutes on two busy cores."""
MAX_MEGABYTES = 300
SENDERS = 16
APP = """
app: hostile
sources:
  stripe: {scheme: stripe, secrets: ["${secrets.STRIPE_WEBHOOK_SECRET}"]}
"""
WORKFLOWS = """
workflow: take
parameters: {value: {type: any, optional: true}, id: {type: text, optional: true}}
on: {api: {method: POST, auth: public, respond: at_once}}
steps: [{return: {}}]
---
workflow: hear
on: {webhook: {source: stripe, types: ["*"]}}
steps: [{return: {}}]
"""


def write_app(directory: Path) -> Path:
    for name, content in (("app.yaml", APP), ("workflows/all.yaml", WORKFLOWS)):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return directory


def signed(body: bytes) -> dict[str, str]:
    moment = int(time.time())
    signature = hmac.new(STRIPE_SECRET.encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={moment},v1={signature}"}


def peak_megabytes(service: Service) -> float:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


async def test_hostile_bodies_are_all_answered_and_take_little_memory(installation: Installation) -> None:
    await installation.prepare(write_app(installation.directory / "hostile"))
    ingress = await installation.start("ingress")
    answers: Counter[tuple[str, int]] = Counter()
    failures: list[tuple[str, int, Hostile]] = []
    bodies = generate(8, COUNT)

    async def send_all() -> None:
        for hostile in bodies:
            for path in ("/api/1.1/wf/take", "/webhooks/stripe"):
                headers = {**hostile.headers, **signed(hostile.body)}
                async with installation.http.post(ingress.url + path, data=hostile.body, headers=headers) as response:
                    answers[path, response.status] += 1
                    if response.status >= 500:
                        failures.append((path, response.status, Hostile(hostile.body[:300], hostile.headers)))

    async with asyncio.TaskGroup() as senders:
        for _ in range(SENDERS):
            senders.create_task(send_all())
    assert failures == []
    assert sum(answers.values()) == 2 * COUNT
    assert {status for _, status in answers} >= {200, 202, 400, 415}
    assert peak_megabytes(ingress) < MAX_MEGABYTES
    assert "request.failed" not in ingress.log.read_text()
