"""What a webhook request is: whether it is genuine, and the keys that its copies share.

Type and id stand where the row of its scheme has them (`penstock.webhooks.provider_table`), or where the source's
`type` and `deduplicate` pick them; a delivery without a type is wanted by `*` alone, and one that holds several
events has the types of all (`penstock.webhooks.events`). The key is the id, for 30 days; where that is missing, a
hash of the body, for the tolerance of the signed time, or 24 hours, or as long as the row says. Of a source whose id
is not signed, copies are also known by what is signed. A NUL in a payload, which PostgreSQL cannot hold, becomes
U+FFFD for the runs; the stored body keeps it.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from multidict import MultiMapping
from pydantic import JsonValue

from penstock.definitions.models import App
from penstock.definitions.sources import Source
from penstock.domain.deliveries import DeliveryVerdict
from penstock.expressions import compile_template
from penstock.webhooks import SignedRequest, Verdict, build_check, find_signed, is_usable, want, wants_documents
from penstock.webhooks.certified import trusted_hosts
from penstock.webhooks.events import Events
from penstock.webhooks.recipes import DEFAULT_TOLERANCE_SECONDS, Certified
from penstock.webhooks.sources import (
    BODY_SECONDS,
    ID_LIFETIME,
    is_id_signed,
    list_proofs,
    provider_of,
    tolerance_of,
)
from penstock.webhooks.stored_keys import KeyStore, Wanted

MAX_KEY_LENGTH: Final = 255
_NAMED_SECRET: Final = re.compile(r"\bsecrets\.([A-Za-z_][A-Za-z0-9_]*)")
_LONE: Final = re.compile(r"\$\{[^{}]*\}")


class Keys(NamedTuple):
    """What copies of a delivery have in common, and for how long. `signature_key` is there if the id is not signed.
    `event_id` is the id that the provider gives the event, if it gives one.
    """

    dedup_key: str
    signature_key: str | None = None
    seconds: float = ID_LIFETIME.total_seconds()
    event_id: str | None = None


class SourcePlan:
    """All that is known of a source before a request arrives; built once per deployment.

    `missing` are secrets that are not set, or are not what the scheme verifies with. With no secret at all nothing can
    be checked, so nothing may be accepted; unless the scheme has none (`is_checkable`).
    """

    def __init__(
        self, source: Source, app: App, secrets: Mapping[str, JsonValue], keys: KeyStore | None = None
    ) -> None:
        resolved = [_resolve(source, text, secrets) for text in source.secrets]
        self.source = source
        self.provider = provider_of(source)
        self.methods = ("POST", *(self.provider.handshake.methods if self.provider.handshake else ()))
        self.missing = tuple(text for text, secret in zip(source.secrets, resolved, strict=True) if secret is None)
        self.is_checkable = len(self.missing) < len(resolved) or not resolved
        self.secrets = [secret for secret in resolved if secret is not None]
        self.check = build_check(source, self.secrets, keys)
        self._wants_documents = wants_documents(source)
        self.verify_token = source.verify_token and resolve_secret(source.verify_token, secrets, source.place)
        self.events = Events(source, app)
        self.verdict: DeliveryVerdict = "genuine" if source.scheme != "none" else "unsigned"
        self._is_id_signed = is_id_signed(source)
        self._tolerance_seconds = max(
            (tolerance_of(source, proof) for proof in list_proofs(source)), default=DEFAULT_TOLERANCE_SECONDS
        )

    @property
    def trusted_hosts(self) -> tuple[str, ...]:
        """Where certificates, and what confirms subscriptions, may come from."""
        certified = [proof for proof in self.provider.proofs if isinstance(proof, Certified)]
        return trusted_hosts(certified[0], self.source) if certified else ()

    def want(self, request: SignedRequest, now: float) -> Wanted | None:
        """The document that has to be fetched before a request can be checked, if any."""
        return want(self.source, request, now) if self._wants_documents else None

    def find_signer(self, request: SignedRequest, now: float) -> str:
        """The secret that has signed a genuine request."""
        return next(one for one in self.secrets if build_check(self.source, [one])(request, now) is Verdict.GENUINE)

    def event_id_of(self, headers: MultiMapping[str], payload: JsonValue) -> str | None:
        """The id that the provider gives the event, or None."""
        return self.events.id_of(headers, payload)

    def keys_of(self, request: SignedRequest, payload: JsonValue, now: float) -> Keys:
        """What copies of a delivery have in common. `now` is in seconds since 1970; the request is genuine."""
        id = self.events.id_of(request.headers, payload)
        if id and self._is_id_signed:
            return Keys(_key(id), event_id=id)
        signed = find_signed(self.source, request, self.secrets)
        content = None if self._is_id_signed else signed.content
        signature_key = None if content is None else hashlib.sha256(content).hexdigest()
        if id:
            return Keys(_key(id), signature_key, event_id=id)
        body = f"sha256:{hashlib.sha256(request.body).hexdigest()}"
        if self.source.deduplicate is None and self.provider.copy_seconds is not None:
            return Keys(body, signature_key, self.provider.copy_seconds)
        if signed.moment is None:
            return Keys(body, signature_key, BODY_SECONDS)
        # As long as the request itself could be sent again: a clock that is fast makes that longer.
        return Keys(body, signature_key, max(signed.moment - now, 0) + self._tolerance_seconds)


def resolve_secret(text: str, secrets: Mapping[str, JsonValue], place: str = "") -> str | None:
    """The secret that `text` names as `${secrets.NAME}`; None when it is not set.

    A text with more around a missing name is missing as a whole: the rest of it would be a key that anybody knows.
    """
    missing = [name for name in _NAMED_SECRET.findall(text) if not secrets.get(name)]
    if missing and not _LONE.fullmatch(text):
        return None
    value = compile_template(text, place).evaluate({"secrets": dict(secrets)})
    return value if isinstance(value, str) and value else None


def _key(id: str) -> str:
    return id if len(id) <= MAX_KEY_LENGTH else f"sha256:{hashlib.sha256(id.encode()).hexdigest()}"


def _resolve(source: Source, text: str, secrets: Mapping[str, JsonValue]) -> str | None:
    secret = resolve_secret(text, secrets, source.place)
    return secret if secret is not None and is_usable(source, secret) else None
