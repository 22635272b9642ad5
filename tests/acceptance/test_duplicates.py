"""The same request many times at once, from outside: one run, one answer."""

import asyncio
import json
import time

import stripe
from aiohttp import ClientResponse

from tests.acceptance.installation import STRIPE_SECRET, Installation, Service

Services = tuple[Service, Service, Service]


def signed(
    event: dict[str, object], secret: str = STRIPE_SECRET, *, timestamp: int | None = None
) -> tuple[bytes, dict[str, str]]:
    """A webhook as Stripe sends it, signed by Stripe's own library."""
    body = json.dumps(event).encode()
    signed_at = timestamp or int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{signed_at}.{body.decode()}", secret)
    return body, {"Stripe-Signature": f"t={signed_at},v1={signature}", "Content-Type": "application/json"}


async def test_200_calls_with_one_idempotency_key_are_one_run_with_one_answer(
    installation: Installation, services: Services
) -> None:
    ingress = services[0]
    answers = await asyncio.gather(
        *(
            installation.call(ingress, "one_thing", {"name": "only"}, **{"Idempotency-Key": '"8e03978e"'})
            for _ in range(200)
        )
    )
    assert {status for status, _ in answers} == {200}
    assert len({json.dumps(body, sort_keys=True) for _, body in answers}) == 1
    assert await installation.count_things() == 1
    status, problem = await installation.call(
        ingress, "one_thing", {"name": "other"}, **{"Idempotency-Key": '"8e03978e"'}
    )
    assert status == 422, problem


async def test_1000_copies_of_a_signed_webhook_to_two_ingresses_are_one_delivery_and_one_run(
    installation: Installation, services: Services
) -> None:
    ingresses = (services[0], await installation.start("ingress"))
    body, headers = signed({"id": "evt_1", "type": "invoice.paid"})

    async def post(ingress: Service) -> dict[str, object]:
        async with installation.http.post(f"{ingress.url}/webhooks/stripe", data=body, headers=headers) as response:
            return await _json(response)

    answers = await asyncio.gather(*(post(ingresses[number % 2]) for number in range(1000)))
    assert len({(str(answer["delivery_id"]), str(answer["run_ids"])) for answer in answers}) == 1
    assert sum(not answer["duplicate"] for answer in answers) == 1
    await installation.settled()
    assert await installation.count_things() == 1
    assert await installation.fetchval("SELECT count(*) FROM penstock.deliveries") == 1
    assert await installation.fetchval("SELECT count(*) FROM penstock.runs") == 1


async def test_forged_and_stale_webhooks_are_refused_and_leave_nothing(
    installation: Installation, services: Services
) -> None:
    event: dict[str, object] = {"id": "evt_2", "type": "invoice.paid"}
    for body, headers in (
        signed(event, "whsec_wrong"),
        signed(event, timestamp=int(time.time()) - 301),
        signed(event, timestamp=int(time.time()) + 3600),
    ):
        async with installation.http.post(f"{services[0].url}/webhooks/stripe", data=body, headers=headers) as response:
            assert response.status == 401
    assert await installation.fetchval("SELECT count(*) FROM penstock.deliveries") == 0


async def _json(response: ClientResponse) -> dict[str, object]:
    assert response.status == 200, await response.text()
    answer: dict[str, object] = await response.json()
    return answer
