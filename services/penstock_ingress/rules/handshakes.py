"""How a provider finds out whether an address is ours, and what it is answered: before its deliveries, or among them.

What it sends without a signature (a GET, Microsoft's `validationToken`) is only repeated as plain text that no browser
runs. What it signs is answered after its signature was checked; otherwise anybody could have an HMAC made of a text of
their choice (Zoom).
"""

import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from pydantic import JsonValue

from penstock.webhooks import SignedRequest
from penstock.webhooks.certificates import is_trusted_url
from penstock.webhooks.recipes import Handshake
from penstock_ingress.rules.deliveries import SourcePlan
from penstock_ingress.rules.headers import storable_text
from penstock_ingress.rules.replies import Refusal, Reply, json_reply, problem, unavailable

MAX_CHALLENGE: Final = 4096
_PLAIN: Final = "text/plain; charset=utf-8"
_MAX_FIELDS: Final = 100


def refuse_method(plan: SourcePlan, method: str) -> Reply:
    """405, for a method by which this source's provider sends nothing."""
    names = ", ".join(plan.methods)
    return problem(405, f"{method} is not possible here, only {names}", {"Allow": names})


def answer_probe(plan: SourcePlan, request: SignedRequest) -> Reply | None:
    """The answer to a request that asks for nothing but an answer, and is not signed; None for a delivery."""
    match plan.provider.handshake:
        case Handshake.META if request.method == "GET":
            return _answer_meta(plan, _read_query(request))
        case Handshake.DROPBOX if request.method == "GET":
            return _echo(_read_query(request).get("challenge"), "challenge")
        case Handshake.GRAPH if "validationToken" in (query := _read_query(request)):
            return _echo(query["validationToken"], "validationToken")
        case Handshake.HEAD if request.method == "HEAD":
            return Reply(200)
        case _:
            return None


def answer_handshake(plan: SourcePlan, request: SignedRequest, payload: JsonValue, now: float) -> Reply | None:
    """The answer to a genuine request that asks for nothing but an answer; None for a delivery."""
    if not isinstance(payload, dict):
        return None
    match plan.provider.handshake:
        case Handshake.SLACK if payload.get("type") == "url_verification":
            return json_reply(200, {"challenge": _text(payload.get("challenge"), "challenge")})
        case Handshake.ZOOM if payload.get("event") == "endpoint.url_validation":
            inner = payload.get("payload")
            token = _text(inner.get("plainToken") if isinstance(inner, dict) else None, "payload.plainToken")
            key = plan.find_signer(request, now).encode()
            encrypted = hmac.digest(key, token.encode(), "sha256").hex()
            return json_reply(200, {"plainToken": token, "encryptedToken": encrypted})
        case Handshake.DISCORD if "event" not in payload and payload.get("type") in {0, 1}:
            return json_reply(200, {"type": 1}) if payload["type"] == 1 else Reply(204)
        case Handshake.SNS if payload.get("Type") == "UnsubscribeConfirmation":
            return json_reply(200, {"status": "unsubscribed"})
        case _:
            return None


def find_confirmation(plan: SourcePlan, payload: JsonValue) -> str | None:
    """The URL that confirms a subscription when it is asked for; None when this is not about one. Raises Refusal (401)
    for one of a host that the source does not trust.
    """
    if plan.provider.handshake is not Handshake.SNS or not isinstance(payload, dict):
        return None
    if payload.get("Type") != "SubscriptionConfirmation":
        return None
    url, hosts = payload.get("SubscribeURL"), plan.trusted_hosts
    if not isinstance(url, str) or not is_trusted_url(url, hosts):
        raise Refusal(problem(401, f"SubscribeURL does not lead to a host that the source trusts: {', '.join(hosts)}"))
    return url


def _answer_meta(plan: SourcePlan, query: Mapping[str, str]) -> Reply:
    if plan.verify_token is None:
        raise Refusal(unavailable("the verify_token of this source is not set on the server", 60))
    given = query.get("hub.verify_token", "").encode("utf-8", "surrogateescape")
    if query.get("hub.mode") != "subscribe" or not hmac.compare_digest(given, plan.verify_token.encode()):
        raise Refusal(problem(401, "hub.verify_token is not that of this source, or hub.mode is not subscribe"))
    return _echo(query.get("hub.challenge"), "hub.challenge")


def _echo(text: str | None, name: str) -> Reply:
    return Reply(200, _text(text, name).encode(), _PLAIN, {"X-Content-Type-Options": "nosniff"})


def _text(value: JsonValue, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_CHALLENGE:
        raise Refusal(problem(400, f"{name} has to be a text of at most {MAX_CHALLENGE} characters"))
    return storable_text(value)


def _read_query(request: SignedRequest) -> dict[str, str]:
    try:
        return dict(parse_qsl(request.query, errors="surrogateescape", max_num_fields=_MAX_FIELDS))
    except ValueError:
        return {}
