"""Checks tokens of issuers (OpenID Connect) against the issuers' keys, which are fetched when they are needed.

What strangers can cause is bounded: only a token that claims to be of the issuer and for us has keys fetched, from
where the issuer's own document leads, and a set that lacks a key is fetched again every half a minute at most.
"""

from typing import Final

from penstock import clock
from penstock.definitions.oidc import Oidc
from penstock.webhooks.identity_tokens import Claims, check_identity_token, want_discovery, want_identity_keys
from penstock.webhooks.stored_keys import Wanted
from penstock_ingress.accepting.keys import KeyFetcher
from penstock_ingress.rules.replies import Refusal, unavailable

_LATER: Final = 5


class Issuers:
    """Checks tokens of whichever issuer is trusted where they are used."""

    def __init__(self, keys: KeyFetcher) -> None:
        self._keys = keys

    async def check(self, oidc: Oidc, token: str) -> Claims | None:
        """What the issuer says of the bearer; None for a token that is not good. Raises Refusal (503) while the
        issuer's keys cannot be fetched.
        """
        now = clock.now().timestamp()
        # Looked at before anything is fetched: it says whether the token claims to be for us.
        if want_identity_keys(oidc, token, oidc.issuer) is None:
            return None
        url = oidc.jwks
        if url is None:
            discovery = want_discovery(oidc)
            await self._fetch(discovery, now)
            url = self._keys.store.find_keys_url(discovery, now)
        wanted = None if url is None else want_identity_keys(oidc, token, url)
        if wanted is None:
            return None
        await self._fetch(wanted, now)
        keys = self._keys.store.find_key_set(wanted, now)
        return None if keys is None else check_identity_token(oidc, token, keys, now)

    async def _fetch(self, wanted: Wanted, now: float) -> None:
        if not await self._keys.prepare(wanted, now):
            raise Refusal(unavailable("the keys of the issuer cannot be fetched at this moment", _LATER))
