"""Providers whose keys are fetched: certificates, and sets of keys."""

from collections.abc import Mapping
from typing import Final

from penstock.webhooks.provider_table.places import DAY_SECONDS, id_of, payload
from penstock.webhooks.recipes import Certified, Handshake, Provider, Secrets, WebToken

FETCHED: Final[Mapping[str, Provider]] = {
    # https://developer.paypal.com/api/rest/webhooks/rest/; tried again for three days
    "paypal": Provider(
        "PayPal",
        (Certified("paypal", ("*.paypal.com:443", "*.sandbox.paypal.com:443"), tolerance_seconds=3 * DAY_SECONDS),),
        Secrets.WEBHOOK_ID,
        ids=id_of(payload("id")),
        is_id_signed=False,
        types=(payload("event_type"),),
        takes=("trust",),
        note="the signature covers a checksum of the body, which can be forged: look up what matters by its id",
    ),
    # https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html; tried again for at most an hour
    "sns": Provider(
        "AWS SNS",
        (Certified("sns", ("sns.*.amazonaws.com:443", "sns.*.amazonaws.com.cn:443"), tolerance_seconds=65 * 60),),
        Secrets.NONE,
        ids=id_of(payload("MessageId")),
        types=(payload("Type"),),
        handshake=Handshake.SNS,
        takes=("trust", "senders"),
        answer_seconds=15,
        senders="the ARNs of topics",
    ),
    # https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
    "pubsub": Provider(
        "Google Pub/Sub",
        (
            WebToken(
                ("https://accounts.google.com", "accounts.google.com"),
                "https://www.googleapis.com/oauth2/v3/certs",
                "email",
            ),
        ),
        Secrets.NONE,
        ids=id_of(payload("message.messageId")),
        types=(payload("message.attributes.eventType"),),
        needs={"audience": "audience: https://hooks.example.com/webhooks/NAME"},
        takes=("issuer", "jwks", "senders", "trust"),
        answer_seconds=10,
        senders="the addresses of service accounts",
    ),
}
