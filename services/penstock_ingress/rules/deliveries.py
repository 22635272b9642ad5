"""What a webhook request is: its type, the keys that its copies share, its payload, and the workflows that want it.

The type is `type` in the body (Stripe), the header `X-GitHub-Event` (GitHub), or what the source's `type` picks; a
delivery without one is wanted by `*` alone. The key is `id` in the body, `X-GitHub-Delivery`, or what `deduplicate`
picks, for 30 days; where that is missing, a hash of the body, for the tolerance of the signed time, or 24 hours. Of a
source whose id stands in a header that is not signed, copies are also known by what is signed. A NUL in a payload,
which PostgreSQL cannot hold, becomes U+FFFD for the runs; the stored body keeps it.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from multidict import MultiMapping
from pydantic import JsonValue

from penstock.definitions.models import App, Pick, Source, Workflow
from penstock.definitions.sources import ID_LIFETIME, find_id, is_id_signed
from penstock.expressions import compile_template
from penstock_ingress.rules.bodies import decode_body, without_nul
from penstock_ingress.rules.headers import storable_text
from penstock_ingress.rules.signatures import STRIPE_TOLERANCE_SECONDS, SignedRequest, build_check, find_signed

MAX_KEY_LENGTH: Final = 255
MAX_TYPE_LENGTH: Final = 255
BODY_SECONDS: Final = 24 * 3600.0
"""How long the same body is a copy, where nothing that is signed says when it was sent."""
_MAX_TYPES: Final = 1000
_NAMED_SECRET: Final = re.compile(r"\bsecrets\.([A-Za-z_][A-Za-z0-9_]*)")
_LONE: Final = re.compile(r"\$\{[^{}]*\}")
_TYPE: Final = {"stripe": Pick(payload="type"), "github": Pick(header="X-GitHub-Event")}


class Keys(NamedTuple):
    """What copies of a delivery have in common, and for how long. `signature_key` is there if the id is not signed."""

    dedup_key: str
    signature_key: str | None = None
    seconds: float = ID_LIFETIME.total_seconds()


class SourcePlan:
    """All that is known of a source before a request arrives; built once per deployment.

    `missing` are secrets that are not set. With no secret at all nothing can be checked, so nothing may be accepted.
    """

    def __init__(self, source: Source, app: App, secrets: Mapping[str, JsonValue]) -> None:
        resolved = [resolve_secret(text, secrets, source.place) for text in source.secrets]
        self.source = source
        self.missing = tuple(text for text, secret in zip(source.secrets, resolved, strict=True) if secret is None)
        self.has_secret = len(self.missing) < len(resolved)
        self.check = build_check(source, [secret for secret in resolved if secret is not None])
        self._type = source.type or _TYPE.get(source.scheme)
        self._key = find_id(source)
        self._is_id_signed = is_id_signed(source)
        self._tolerance_seconds = source.timestamp.tolerance_seconds if source.timestamp else STRIPE_TOLERANCE_SECONDS
        self._wanted = [
            (_pattern(types), workflow)
            for workflow in app.workflows.values()
            if (types := _types(workflow, source.name))
        ]
        self._by_type: dict[str, tuple[Workflow, ...]] = {}

    def type_of(self, headers: MultiMapping[str], payload: JsonValue) -> str | None:
        """The type of a delivery, or None."""
        kind = _pick(self._type, headers, payload)
        return None if kind is None else kind[:MAX_TYPE_LENGTH]

    def event_id_of(self, headers: MultiMapping[str], payload: JsonValue) -> str | None:
        """The id that the provider gives the event, or None."""
        return _pick(self._key, headers, payload)

    def keys_of(self, request: SignedRequest, payload: JsonValue, now: float) -> Keys:
        """What copies of a delivery have in common. `now` is in seconds since 1970; the request is genuine."""
        id = self.event_id_of(request.headers, payload)
        if id and self._is_id_signed:
            return Keys(_key(id))
        signed = find_signed(self.source, request)
        signature_key = None if self._is_id_signed else hashlib.sha256(signed.content).hexdigest()
        if id:
            return Keys(_key(id), signature_key)
        body = f"sha256:{hashlib.sha256(request.body).hexdigest()}"
        if signed.moment is None:
            return Keys(body, signature_key, BODY_SECONDS)
        # As long as the request itself could be sent again: a clock that is fast makes that longer.
        return Keys(body, signature_key, max(signed.moment - now, 0) + self._tolerance_seconds)

    def workflows_for(self, kind: str | None) -> tuple[Workflow, ...]:
        """The workflows that a delivery of this type starts."""
        found = self._by_type.get(kind or "")
        if found is None:
            found = tuple(workflow for pattern, workflow in self._wanted if pattern.fullmatch(kind or ""))
            if len(self._by_type) < _MAX_TYPES:
                self._by_type[kind or ""] = found
        return found


def decode_payload(body: bytes, content_type: str) -> JsonValue:
    """The payload of a delivery: JSON, the fields of a form, or `{}` for an empty body. Raises Undecodable."""
    return without_nul(decode_body(body, content_type), body)


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


def _types(workflow: Workflow, source: str) -> Sequence[str]:
    return [kind for trigger in workflow.webhooks if trigger.source == source for kind in trigger.types]


def _pattern(types: Iterable[str]) -> re.Pattern[str]:
    """Matches what one of `types` matches, `*` standing for any run of characters."""
    return re.compile("|".join(".*".join(map(re.escape, kind.split("*"))) for kind in types), re.DOTALL)


def _pick(pick: Pick | None, headers: MultiMapping[str], payload: JsonValue) -> str | None:
    if pick is None:
        return None
    if pick.header is not None:
        value: JsonValue = headers.get(pick.header)
    else:
        value = payload
        for member in (pick.payload or "").split("."):
            value = value.get(member) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return storable_text(str(value))
