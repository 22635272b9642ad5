"""`/webhooks/{source}`: deliveries by POST; a few providers verify the address by GET or HEAD."""

from typing import Final

from aiohttp import web

from penstock.bodies import decode_payload
from penstock.webhooks import SignedRequest
from penstock_ingress.handlers.deliveries import WebhookCall, check_source, receive_delivery
from penstock_ingress.room import Room
from penstock_ingress.routes.places import Place
from penstock_ingress.routes.transport import receive
from penstock_ingress.rules.replies import Reply

BODY_SECONDS: Final = 10.0


async def answer_webhook(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """Receive a delivery, or answer a question about the address."""
    source = place.arguments[0]
    await check_source(room, place.environment, source)
    with await receive(request, most=room.settings.max_body_bytes, seconds=BODY_SECONDS) as body:
        url = request.rel_url
        signed = SignedRequest(
            request.method, url.raw_path, request.headers, body.data, url.raw_query_string, decode_payload
        )
        return await receive_delivery(room, WebhookCall(place.environment, source, signed))
