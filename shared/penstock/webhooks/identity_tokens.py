"""Tokens of users (OpenID Connect Core 1.0, section 3.1.3.7): of the issuer that an app trusts, for this app, valid
now, and signed by one of the issuer's keys with an algorithm that the app takes.

Where the issuer keeps its keys is found in the document that it publishes (OpenID Connect Discovery 1.0, section 4).
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from penstock.definitions.oidc import Oidc
from penstock.webhooks.key_sets import ALGORITHMS, KeySet
from penstock.webhooks.stored_keys import Wanted
from penstock.webhooks.web_tokens import is_for, is_valid_now, read_web_token

MAX_TOKEN_CHARACTERS: Final = 16 * 1024
MAX_SUBJECT_CHARACTERS: Final = 255
"""OpenID Connect Core 1.0, section 2."""
LEEWAY_SECONDS: Final = 60.0
_DISCOVERY: Final = "/.well-known/openid-configuration"


class Claims(NamedTuple):
    """What an issuer says of somebody. `email` is there only where the issuer has verified it; `members` are all."""

    subject: str
    email: str | None
    members: Mapping[str, Any]


def is_web_token(text: str) -> bool:
    """Whether this has the form of a JSON Web Token, which no token of ours has."""
    return text.count(".") == 2 and text.startswith("ey")


def want_discovery(oidc: Oidc) -> Wanted:
    """The document in which the issuer says where its keys are."""
    return Wanted("discovery", oidc.issuer.rstrip("/") + _DISCOVERY, issuer=oidc.issuer)


def want_identity_keys(oidc: Oidc, text: str, keys_url: str) -> Wanted | None:
    """The key set that is needed to check a token; None when it is refused without."""
    token = read_web_token(text) if len(text) <= MAX_TOKEN_CHARACTERS else None
    if token is None or "crit" in token.header or token.header.get("alg") not in oidc.algorithms:
        return None
    # Only a token that claims to be for us has a key fetched: everyone can make others.
    if token.claims.get("iss") != oidc.issuer or not is_for(token.claims.get("aud"), oidc.audience):
        return None
    return Wanted("keys", keys_url, key_id=token.key_id)


def check_identity_token(oidc: Oidc, text: str, keys: KeySet, now: float) -> Claims | None:
    """What the token says; None for one that is not the issuer's, not for us, or not valid at `now` (seconds since
    1970).
    """
    token = read_web_token(text) if len(text) <= MAX_TOKEN_CHARACTERS else None
    name = None if token is None else token.header.get("alg")
    if token is None or not isinstance(name, str) or name not in oidc.algorithms or "crit" in token.header:
        return None
    algorithm, claims = ALGORITHMS[name], token.claims
    if not any(algorithm.verify(token.signed, one.key, token.signature) for one in keys.find(token.key_id, name)):
        return None
    if claims.get("iss") != oidc.issuer or not is_for(claims.get("aud"), oidc.audience):
        return None
    if not is_valid_now(claims, now, LEEWAY_SECONDS):
        return None
    subject, email = claims.get("sub"), claims.get("email")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS:
        return None
    is_verified = claims.get("email_verified") is True and isinstance(email, str)
    return Claims(subject, email if is_verified else None, claims)
