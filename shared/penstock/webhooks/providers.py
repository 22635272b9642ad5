"""The table of providers. Where a row departs from what the provider's own page says, or that page is silent, a comment
says why.

Tolerances are five minutes unless the provider's page or its own library says otherwise.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from penstock.webhooks.recipes import (
    Basic,
    Form,
    Handshake,
    Nothing,
    PayloadToken,
    Provider,
    Recipe,
    Secrets,
    Token,
    Where,
)

_DAY: Final = 86400.0
_MONTH: Final = 30 * _DAY
_URL: Final = {"url": "url: https://hooks.example.com/webhooks/NAME"}


def _header(name: str) -> Where:
    return Where(header=name)


def _payload(path: str) -> Where:
    return Where(payload=path)


def _id(*places: Where) -> tuple[tuple[Where, ...], ...]:
    """An id that is all of these values together."""
    return (places,)


def _standard(prefix: str) -> tuple[Recipe, Recipe]:
    """Standard Webhooks (https://www.standardwebhooks.com): HMAC with `whsec_…`, and Ed25519 with `whpk_…`."""
    shared = Recipe(
        f"{prefix}-signature",
        "{id}.{timestamp}.{body}",
        "v1,",
        encoding="base64",
        key="base64",
        key_prefix="whsec_",
        time=_header(f"{prefix}-timestamp"),
        id=_header(f"{prefix}-id"),
    )
    public = replace(shared, prefix="v1a,", algorithm="ed25519", key_prefix="whpk_", is_key_marked=True)
    return shared, public


_STANDARD: Final = _standard("webhook")
_TWILIO: Final = Recipe(
    "X-Twilio-Signature",
    "{url}{form}",
    algorithm="sha1",
    encoding="base64",
    body_digest="bodySHA256",
    is_port_optional=True,
)

PROVIDERS: Final[Mapping[str, Provider]] = {
    # https://docs.stripe.com/webhooks/signature
    "stripe": Provider(
        "Stripe",
        (Recipe("Stripe-Signature", "{timestamp}.{body}", "v1=", time=Where(part="t=")),),
        ids=_id(_payload("id")),
        types=(_payload("type"),),
    ),
    # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    "github": Provider(
        "GitHub",
        (Recipe("X-Hub-Signature-256", prefix="sha256="),),
        ids=_id(_header("X-GitHub-Delivery")),
        is_id_signed=False,
        types=(_header("X-GitHub-Event"),),
        answer_seconds=10,
    ),
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    "slack": Provider(
        "Slack",
        (
            Recipe(
                "X-Slack-Signature",
                "v0:{timestamp}:{body}",
                "v0=",
                time=_header("X-Slack-Request-Timestamp"),
            ),
        ),
        ids=_id(_payload("event_id")),
        types=(_payload("event.type"), _payload("command"), _payload("type")),
        handshake=Handshake.SLACK,
        form=Form.SLACK,
        answer_seconds=3,
    ),
    # https://shopify.dev/docs/apps/build/webhooks/subscribe/https; the Events family has names without X-
    "shopify": Provider(
        "Shopify",
        (Recipe("X-Shopify-Hmac-Sha256", encoding="base64"), Recipe("shopify-hmac-sha256", encoding="base64")),
        ids=(*_id(_header("X-Shopify-Webhook-Id")), *_id(_header("shopify-webhook-id"))),
        is_id_signed=False,
        types=(_header("X-Shopify-Topic"), _header("shopify-topic")),
        answer_seconds=5,
    ),
    "standard_webhooks": Provider(
        "Standard Webhooks",
        _STANDARD,
        ids=_id(_header("webhook-id")),
        types=(_payload("type"), _payload("event_type")),
        answer_seconds=15,
    ),
    # https://docs.svix.com/receiving/verifying-payloads/how-manual; some of its customers send the unbranded names
    "svix": Provider(
        "Svix",
        (*_standard("svix"), *_STANDARD),
        ids=(*_id(_header("svix-id")), *_id(_header("webhook-id"))),
        types=(_payload("type"), _payload("event_type"), _payload("eventType")),
        answer_seconds=15,
    ),
    # https://www.twilio.com/docs/usage/webhooks/webhooks-security; SHA-256 is for shared keys
    "twilio": Provider(
        "Twilio",
        (_TWILIO, replace(_TWILIO, algorithm="sha256")),
        ids=(
            *_id(_header("I-Twilio-Idempotency-Token")),
            *_id(_payload("MessageSid"), _payload("MessageStatus")),
            *_id(_payload("MessageSid"), _payload("SmsStatus")),
            *_id(_payload("CallSid"), _payload("CallStatus"), _payload("SequenceNumber")),
        ),
        is_id_signed=False,
        types=(_payload("MessageStatus"), _payload("SmsStatus"), _payload("CallStatus"), _payload("EventType")),
        form=Form.TWIML,
        needs=_URL,
        answer_seconds=15,
    ),
    # https://discord.com/developers/docs/interactions/overview
    "discord": Provider(
        "Discord",
        (
            Recipe(
                "X-Signature-Ed25519",
                "{timestamp}{body}",
                key="hex",
                algorithm="ed25519",
                time=_header("X-Signature-Timestamp"),
            ),
        ),
        Secrets.PUBLIC_KEY,
        ids=_id(_payload("id")),
        types=(_payload("event.type"), _payload("type")),
        copy_seconds=_MONTH,  # events have no id, and their own time in the body
        handshake=Handshake.DISCORD,
        form=Form.DISCORD,
        answer_seconds=3,
    ),
    # https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
    "sendgrid": Provider(
        "SendGrid",
        (
            Recipe(
                "X-Twilio-Email-Event-Webhook-Signature",
                "{timestamp}{body}",
                encoding="base64",
                key="base64",
                algorithm="p256",
                time=_header("X-Twilio-Email-Event-Webhook-Timestamp"),
            ),
        ),
        Secrets.PUBLIC_KEY,
        ids=_id(_payload("*.sg_event_id")),
        types=(_payload("*.event"),),
    ),
    # https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks; inbound mail has no object
    "mailgun": Provider(
        "Mailgun",
        (
            Recipe(
                signed="{timestamp}{id}",
                in_payload="signature.signature",
                time=_payload("signature.timestamp"),
                id=_payload("signature.token"),
            ),
            Recipe(
                signed="{timestamp}{id}",
                in_payload="signature",
                time=_payload("timestamp"),
                id=_payload("token"),
            ),
        ),
        ids=(*_id(_payload("signature.token")), *_id(_payload("token"))),
        types=(_payload("event-data.event"),),
        note="the signature covers time and token, not the event",
    ),
    # https://developer.squareup.com/docs/webhooks/step3validate
    "square": Provider(
        "Square",
        (Recipe("x-square-hmacsha256-signature", "{url}{body}", encoding="base64"),),
        ids=_id(_payload("event_id")),
        types=(_payload("type"),),
        needs=_URL,
        answer_seconds=10,
    ),
    # https://developers.zoom.us/docs/api/webhooks/
    "zoom": Provider(
        "Zoom",
        (Recipe("x-zm-signature", "v0:{timestamp}:{body}", "v0=", time=_header("x-zm-request-timestamp")),),
        types=(_payload("event"),),
        copy_seconds=_MONTH,  # tried again for an hour, signed again; `event_ts` differs per event
        handshake=Handshake.ZOOM,
        answer_seconds=3,
    ),
    # https://linear.app/developers/webhooks; its own library trusts the time in the body alone
    "linear": Provider(
        "Linear",
        (Recipe("Linear-Signature", time=_payload("webhookTimestamp"), unit="ms", tolerance_seconds=60),),
        ids=_id(_header("Linear-Delivery")),
        is_id_signed=False,
        types=(_payload("type"),),
        answer_seconds=5,
    ),
    # https://developer.paddle.com/webhooks/signature-verification; its library's 5 s are less than clocks differ
    "paddle": Provider(
        "Paddle",
        (Recipe("Paddle-Signature", "{timestamp}:{body}", "h1=", time=Where(part="ts="), separator=";"),),
        ids=_id(_payload("event_id")),
        types=(_payload("event_type"),),
        answer_seconds=5,
    ),
    # https://developers.hubspot.com/docs/api/webhooks/validating-requests; an attempt's number is part of the body
    "hubspot": Provider(
        "HubSpot",
        (
            Recipe(
                "X-HubSpot-Signature-v3",
                "{method}{url}{body}{timestamp}",
                encoding="base64",
                time=_header("X-HubSpot-Request-Timestamp"),
                unit="ms",
            ),
        ),
        ids=_id(_payload("*.eventId"), _payload("*.subscriptionId"), _payload("*.occurredAt")),
        types=(_payload("*.subscriptionType"),),
        needs=_URL,
        answer_seconds=5,
    ),
    # https://developers.facebook.com/docs/graph-api/webhooks/getting-started
    "meta": Provider(
        "Meta",
        (Recipe("X-Hub-Signature-256", prefix="sha256="),),
        types=(_payload("object"),),
        copy_seconds=_MONTH,  # tried again for 36 hours; each entry has a time
        handshake=Handshake.META,
        needs={"verify_token": "verify_token: ${secrets.META_VERIFY_TOKEN}"},
    ),
    # https://postmarkapp.com/developer/webhooks/webhooks-overview
    "postmark": Provider(
        "Postmark",
        (Basic(),),
        Secrets.USER,
        ids=_id(_payload("RecordType"), _payload("ID")),
        types=(_payload("RecordType"),),
        copy_seconds=_MONTH,  # what has no id has a time
    ),
    # https://docs.gitlab.com/user/project/integrations/webhooks/; a signing token is whsec_ as in Standard Webhooks
    "gitlab": Provider(
        "GitLab",
        (replace(_STANDARD[0], is_key_marked=True), Token("X-Gitlab-Token")),
        Secrets.TOKEN,
        ids=(*_id(_header("webhook-id")), *_id(_header("Idempotency-Key")), *_id(_header("X-Gitlab-Event-UUID"))),
        is_id_signed=False,
        types=(_header("X-Gitlab-Event"),),
        answer_seconds=10,
    ),
    # https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
    "bitbucket": Provider(
        "Bitbucket",
        (Recipe("X-Hub-Signature", prefix="sha256="),),
        ids=_id(_header("X-Request-UUID")),
        is_id_signed=False,
        types=(_header("X-Event-Key"),),
        answer_seconds=10,
    ),
    # https://www.typeform.com/developers/webhooks/secure-your-webhooks/
    "typeform": Provider(
        "Typeform",
        (Recipe("Typeform-Signature", prefix="sha256=", encoding="base64"),),
        ids=_id(_payload("event_id")),
        types=(_payload("event_type"),),
    ),
    # https://developer.calendly.com/api-docs/ZG9jOjM2MzE2MDM4-webhook-signatures, which advises three minutes
    "calendly": Provider(
        "Calendly",
        (
            Recipe(
                "Calendly-Webhook-Signature", "{timestamp}.{body}", "v1=", time=Where(part="t="), tolerance_seconds=180
            ),
        ),
        types=(_payload("event"),),
        copy_seconds=_MONTH,  # tried again for a day, signed again; `created_at` differs per event
    ),
    # https://developers.intercom.com/docs/webhooks/setting-up-webhooks
    "intercom": Provider(
        "Intercom",
        (Recipe("X-Hub-Signature", prefix="sha1=", algorithm="sha1"),),
        ids=_id(_payload("id")),
        types=(_payload("topic"),),
        handshake=Handshake.HEAD,
        answer_seconds=5,
    ),
    # https://razorpay.com/docs/webhooks/validate-test/
    "razorpay": Provider(
        "Razorpay",
        (Recipe("X-Razorpay-Signature"),),
        ids=_id(_header("x-razorpay-event-id")),
        is_id_signed=False,
        types=(_payload("event"),),
        answer_seconds=5,
    ),
    # https://docs.lemonsqueezy.com/help/webhooks/signing-requests
    "lemon_squeezy": Provider(
        "Lemon Squeezy",
        (Recipe("X-Signature"),),
        ids=_id(_payload("meta.event_name"), _payload("data.id"), _payload("data.attributes.updated_at")),
        types=(_payload("meta.event_name"),),
    ),
    # https://www.dropbox.com/developers/reference/webhooks; equal bodies are different events, which say no more than
    # that something changed: only what follows at once is a copy
    "dropbox": Provider(
        "Dropbox",
        (Recipe("X-Dropbox-Signature"),),
        copy_seconds=10,
        handshake=Handshake.DROPBOX,
        answer_seconds=10,
    ),
    # https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
    "microsoft_graph": Provider(
        "Microsoft Graph",
        (PayloadToken("value.*.clientState"),),
        Secrets.CLIENT_STATE,
        ids=_id(_payload("value.*.id")),
        types=(_payload("value.*.changeType"), _payload("value.*.lifecycleEvent")),
        copy_seconds=_MONTH,  # without an id they have the etag
        handshake=Handshake.GRAPH,
        form=Form.GRAPH,
        answer_seconds=3,
    ),
    "hmac": Provider(
        "any HMAC",
        (),
        needs={"header": "header: X-Signature"},
        takes=("algorithm", "encoding", "key", "prefix", "signed", "timestamp", "url"),
    ),
    "token": Provider("a shared token", (), Secrets.TOKEN, takes=("header", "prefix")),
    "basic": Provider("basic authentication", (Basic(),), Secrets.USER),
    "none": Provider("everybody", (Nothing(),), Secrets.NONE),
}
"""By scheme."""
