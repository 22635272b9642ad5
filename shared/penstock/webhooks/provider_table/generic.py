"""Ways in which anybody may prove who they are."""

from collections.abc import Mapping
from typing import Final

from penstock.webhooks.recipes import Basic, Nothing, Provider, Secrets, WebToken

GENERIC: Final[Mapping[str, Provider]] = {
    "hmac": Provider(
        "any HMAC",
        (),
        needs={"header": "header: X-Signature"},
        takes=("algorithm", "encoding", "key", "prefix", "signed", "timestamp", "url"),
    ),
    "token": Provider("a shared token", (), Secrets.TOKEN, takes=("header", "prefix")),
    "basic": Provider("basic authentication", (Basic(),), Secrets.USER),
    "jwt": Provider(
        "JSON Web Tokens",
        (WebToken(),),
        Secrets.KEY,
        needs={
            "issuer": "issuer: https://idp.example.com",
            "audience": "audience: https://hooks.example.com/webhooks/NAME",
        },
        takes=("jwks", "senders", "trust"),
        senders="subjects (`sub`)",
        note="the token proves who sends; it does not cover the body",
    ),
    "none": Provider("everybody", (Nothing(),), Secrets.NONE),
}
