"""Providers that prove themselves by a secret, or by a key that is written in app.yaml."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from penstock.webhooks.provider_table.places import (
    MONTH_SECONDS,
    NEEDS_URL,
    STANDARD,
    header,
    id_of,
    payload,
    standard_webhooks,
)
from penstock.webhooks.recipes import Basic, Form, Handshake, PayloadToken, Provider, Recipe, Secrets, Token, Where

_TWILIO: Final = Recipe(
    "X-Twilio-Signature",
    "{url}{form}",
    algorithm="sha1",
    encoding="base64",
    body_digest="bodySHA256",
    is_port_optional=True,
)

SHARED: Final[Mapping[str, Provider]] = {
    # https://docs.stripe.com/webhooks/signature
    "stripe": Provider(
        "Stripe",
        (Recipe("Stripe-Signature", "{timestamp}.{body}", "v1=", time=Where(part="t=")),),
        ids=id_of(payload("id")),
        types=(payload("type"),),
    ),
    # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    "github": Provider(
        "GitHub",
        (Recipe("X-Hub-Signature-256", prefix="sha256="),),
        ids=id_of(header("X-GitHub-Delivery")),
        is_id_signed=False,
        types=(header("X-GitHub-Event"),),
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
                time=header("X-Slack-Request-Timestamp"),
            ),
        ),
        ids=id_of(payload("event_id")),
        types=(payload("event.type"), payload("command"), payload("type")),
        handshake=Handshake.SLACK,
        form=Form.SLACK,
        answer_seconds=3,
    ),
    # https://shopify.dev/docs/apps/build/webhooks/subscribe/https; the Events family has names without X-
    "shopify": Provider(
        "Shopify",
        (Recipe("X-Shopify-Hmac-Sha256", encoding="base64"), Recipe("shopify-hmac-sha256", encoding="base64")),
        ids=(*id_of(header("X-Shopify-Webhook-Id")), *id_of(header("shopify-webhook-id"))),
        is_id_signed=False,
        types=(header("X-Shopify-Topic"), header("shopify-topic")),
        answer_seconds=5,
    ),
    "standard_webhooks": Provider(
        "Standard Webhooks",
        STANDARD,
        ids=id_of(header("webhook-id")),
        types=(payload("type"), payload("event_type")),
        answer_seconds=15,
    ),
    # https://docs.svix.com/receiving/verifying-payloads/how-manual; some of its customers send the unbranded names
    "svix": Provider(
        "Svix",
        (*standard_webhooks("svix"), *STANDARD),
        ids=(*id_of(header("svix-id")), *id_of(header("webhook-id"))),
        types=(payload("type"), payload("event_type"), payload("eventType")),
        answer_seconds=15,
    ),
    # https://www.twilio.com/docs/usage/webhooks/webhooks-security; SHA-256 is for shared keys
    "twilio": Provider(
        "Twilio",
        (_TWILIO, replace(_TWILIO, algorithm="sha256")),
        ids=(
            *id_of(header("I-Twilio-Idempotency-Token")),
            *id_of(payload("MessageSid"), payload("MessageStatus")),
            *id_of(payload("MessageSid"), payload("SmsStatus")),
            *id_of(payload("CallSid"), payload("CallStatus"), payload("SequenceNumber")),
        ),
        is_id_signed=False,
        types=(payload("MessageStatus"), payload("SmsStatus"), payload("CallStatus"), payload("EventType")),
        form=Form.TWIML,
        needs=NEEDS_URL,
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
                time=header("X-Signature-Timestamp"),
            ),
        ),
        Secrets.PUBLIC_KEY,
        ids=id_of(payload("id")),
        types=(payload("event.type"), payload("type")),
        copy_seconds=MONTH_SECONDS,  # events have no id, and their own time in the body
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
                time=header("X-Twilio-Email-Event-Webhook-Timestamp"),
            ),
        ),
        Secrets.PUBLIC_KEY,
        ids=id_of(payload("*.sg_event_id")),
        types=(payload("*.event"),),
    ),
    # https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks; inbound mail has no object
    "mailgun": Provider(
        "Mailgun",
        (
            Recipe(
                signed="{timestamp}{id}",
                in_payload="signature.signature",
                time=payload("signature.timestamp"),
                id=payload("signature.token"),
            ),
            Recipe(
                signed="{timestamp}{id}",
                in_payload="signature",
                time=payload("timestamp"),
                id=payload("token"),
            ),
        ),
        ids=(*id_of(payload("signature.token")), *id_of(payload("token"))),
        types=(payload("event-data.event"),),
        note="the signature covers time and token, not the event",
    ),
    # https://developer.squareup.com/docs/webhooks/step3validate
    "square": Provider(
        "Square",
        (Recipe("x-square-hmacsha256-signature", "{url}{body}", encoding="base64"),),
        ids=id_of(payload("event_id")),
        types=(payload("type"),),
        needs=NEEDS_URL,
        answer_seconds=10,
    ),
    # https://developers.zoom.us/docs/api/webhooks/
    "zoom": Provider(
        "Zoom",
        (Recipe("x-zm-signature", "v0:{timestamp}:{body}", "v0=", time=header("x-zm-request-timestamp")),),
        types=(payload("event"),),
        copy_seconds=MONTH_SECONDS,  # tried again for an hour, signed again; `event_ts` differs per event
        handshake=Handshake.ZOOM,
        answer_seconds=3,
    ),
    # https://linear.app/developers/webhooks; its own library trusts the time in the body alone
    "linear": Provider(
        "Linear",
        (Recipe("Linear-Signature", time=payload("webhookTimestamp"), unit="ms", tolerance_seconds=60),),
        ids=id_of(header("Linear-Delivery")),
        is_id_signed=False,
        types=(payload("type"),),
        answer_seconds=5,
    ),
    # https://developer.paddle.com/webhooks/signature-verification; its library's 5 s are less than clocks differ
    "paddle": Provider(
        "Paddle",
        (Recipe("Paddle-Signature", "{timestamp}:{body}", "h1=", time=Where(part="ts="), separator=";"),),
        ids=id_of(payload("event_id")),
        types=(payload("event_type"),),
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
                time=header("X-HubSpot-Request-Timestamp"),
                unit="ms",
            ),
        ),
        ids=id_of(payload("*.eventId"), payload("*.subscriptionId"), payload("*.occurredAt")),
        types=(payload("*.subscriptionType"),),
        needs=NEEDS_URL,
        answer_seconds=5,
    ),
    # https://developers.facebook.com/docs/graph-api/webhooks/getting-started
    "meta": Provider(
        "Meta",
        (Recipe("X-Hub-Signature-256", prefix="sha256="),),
        types=(payload("object"),),
        copy_seconds=MONTH_SECONDS,  # tried again for 36 hours; each entry has a time
        handshake=Handshake.META,
        needs={"verify_token": "verify_token: ${secrets.META_VERIFY_TOKEN}"},
    ),
    # https://postmarkapp.com/developer/webhooks/webhooks-overview
    "postmark": Provider(
        "Postmark",
        (Basic(),),
        Secrets.USER,
        ids=id_of(payload("RecordType"), payload("ID")),
        types=(payload("RecordType"),),
        copy_seconds=MONTH_SECONDS,  # what has no id has a time
    ),
    # https://docs.gitlab.com/user/project/integrations/webhooks/; a signing token is whsec_ as in Standard Webhooks
    "gitlab": Provider(
        "GitLab",
        (replace(STANDARD[0], is_key_marked=True), Token("X-Gitlab-Token")),
        Secrets.TOKEN,
        ids=(*id_of(header("webhook-id")), *id_of(header("Idempotency-Key")), *id_of(header("X-Gitlab-Event-UUID"))),
        is_id_signed=False,
        types=(header("X-Gitlab-Event"),),
        answer_seconds=10,
    ),
    # https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
    "bitbucket": Provider(
        "Bitbucket",
        (Recipe("X-Hub-Signature", prefix="sha256="),),
        ids=id_of(header("X-Request-UUID")),
        is_id_signed=False,
        types=(header("X-Event-Key"),),
        answer_seconds=10,
    ),
    # https://www.typeform.com/developers/webhooks/secure-your-webhooks/
    "typeform": Provider(
        "Typeform",
        (Recipe("Typeform-Signature", prefix="sha256=", encoding="base64"),),
        ids=id_of(payload("event_id")),
        types=(payload("event_type"),),
    ),
    # https://developer.calendly.com/api-docs/ZG9jOjM2MzE2MDM4-webhook-signatures, which advises three minutes
    "calendly": Provider(
        "Calendly",
        (
            Recipe(
                "Calendly-Webhook-Signature", "{timestamp}.{body}", "v1=", time=Where(part="t="), tolerance_seconds=180
            ),
        ),
        types=(payload("event"),),
        copy_seconds=MONTH_SECONDS,  # tried again for a day, signed again; `created_at` differs per event
    ),
    # https://developers.intercom.com/docs/webhooks/setting-up-webhooks
    "intercom": Provider(
        "Intercom",
        (Recipe("X-Hub-Signature", prefix="sha1=", algorithm="sha1"),),
        ids=id_of(payload("id")),
        types=(payload("topic"),),
        handshake=Handshake.HEAD,
        answer_seconds=5,
    ),
    # https://razorpay.com/docs/webhooks/validate-test/
    "razorpay": Provider(
        "Razorpay",
        (Recipe("X-Razorpay-Signature"),),
        ids=id_of(header("x-razorpay-event-id")),
        is_id_signed=False,
        types=(payload("event"),),
        answer_seconds=5,
    ),
    # https://docs.lemonsqueezy.com/help/webhooks/signing-requests
    "lemon_squeezy": Provider(
        "Lemon Squeezy",
        (Recipe("X-Signature"),),
        ids=id_of(payload("meta.event_name"), payload("data.id"), payload("data.attributes.updated_at")),
        types=(payload("meta.event_name"),),
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
        ids=id_of(payload("value.*.id")),
        types=(payload("value.*.changeType"), payload("value.*.lifecycleEvent")),
        copy_seconds=MONTH_SECONDS,  # without an id they have the etag
        handshake=Handshake.GRAPH,
        form=Form.GRAPH,
        answer_seconds=3,
    ),
}
