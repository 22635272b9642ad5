"""What a row of the table of providers consists of. Nothing here computes anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, NamedTuple

Algorithm = Literal["sha1", "sha256", "sha384", "sha512", "ed25519", "p256"]
Encoding = Literal["hex", "base64", "base64url"]
KeyForm = Literal["text", "hex", "base64"]
TimeUnit = Literal["s", "ms", "iso"]

DEFAULT_TOLERANCE_SECONDS: Final = 300.0


class Where(NamedTuple):
    """Where in a request a value stands: in a header, on a dotted path into the payload (`*` stands for every item of a
    list), or behind such a `part` of the signature's own header (`t=`).
    """

    header: str | None = None
    payload: str | None = None
    part: str | None = None

    def __str__(self) -> str:
        return self.header or self.payload or f"{self.part}…"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A signature over a template of the request's raw parts.

    `header` holds it, behind `prefix` and beside others; or the payload does, where `in_payload` says. `signed` has the
    parts {body} {timestamp} {id} {url} {method} {path} {form}. With `key_prefix` a key may begin so, or has to
    (`is_key_marked`). `separator` stands between the parts of the header. Where `body_digest` names a parameter of the
    query, that holds the SHA-256 of a body which is not a form.
    """

    header: str = ""
    signed: str = "{body}"
    prefix: str = ""
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    key: KeyForm = "text"
    key_prefix: str = ""
    is_key_marked: bool = False
    time: Where | None = None
    unit: TimeUnit = "s"
    tolerance_seconds: float = DEFAULT_TOLERANCE_SECONDS
    id: Where | None = None
    in_payload: str | None = None
    separator: str = ","
    body_digest: str | None = None
    is_port_optional: bool = False

    @property
    def is_symmetric(self) -> bool:
        """Whether who verifies can sign."""
        return self.algorithm not in {"ed25519", "p256"}

    @property
    def covers_body(self) -> bool:
        """Whether nobody but the sender can change the body."""
        return "{body}" in self.signed or "{form}" in self.signed


@dataclass(frozen=True, slots=True)
class Token:
    """The secret itself, in a header, behind `prefix` if there is one."""

    header: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Basic:
    """`user:password` as HTTP's basic authentication."""


@dataclass(frozen=True, slots=True)
class PayloadToken:
    """The secret itself, at each of these places of the payload."""

    payload: str


@dataclass(frozen=True, slots=True)
class Certified:
    """A signature by the key of a certificate whose URL the request names; `kind` says what is signed. Certificates
    come from `hosts` unless the source trusts others.
    """

    kind: Literal["paypal", "sns"]
    hosts: tuple[str, ...]
    tolerance_seconds: float


@dataclass(frozen=True, slots=True)
class WebToken:
    """A JSON Web Token in `Authorization: Bearer`, of these issuers and with these keys unless the source names
    others. `senders` is the claim that says who sends.
    """

    issuers: tuple[str, ...] = ()
    jwks: str | None = None
    senders: str = "sub"
    tolerance_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Nothing:
    """Everybody may send."""


Proof = Recipe | Token | Basic | PayloadToken | Certified | WebToken | Nothing


class Handshake(StrEnum):
    """How a provider finds out whether an address is ours."""

    SLACK = "`url_verification`: the challenge, as JSON"
    ZOOM = "`endpoint.url_validation`: the token and its HMAC"
    META = "`GET` with `hub.challenge` and the `verify_token`: the challenge"
    DROPBOX = "`GET` with `challenge`: the challenge"
    GRAPH = "`validationToken` in the query: the token"
    SNS = "`SubscriptionConfirmation`: its URL is fetched, from a trusted host"
    DISCORD = 'a ping: `{"type": 1}`, or 204 for webhook events'
    HEAD = "`HEAD`: 200"

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods beside POST with which it comes."""
        return {Handshake.META: ("GET",), Handshake.DROPBOX: ("GET",), Handshake.HEAD: ("HEAD",)}.get(self, ())


class Form(StrEnum):
    """How a provider wants to be answered."""

    ACCEPTED = "200, JSON"
    SLACK = "200, JSON; empty for commands and actions"
    TWIML = "200, an empty TwiML `<Response/>`"
    DISCORD = "204 for events, a deferred answer for interactions"
    GRAPH = "202, JSON"


class Secrets(StrEnum):
    """What `secrets` holds."""

    SHARED = "the shared secret"
    PUBLIC_KEY = "the public key"
    USER = "`user:password`"
    CLIENT_STATE = "the `clientState`"
    TOKEN = "the token"
    WEBHOOK_ID = "the id of the webhook"
    KEY = "the shared secret (HS256 …), in place of `jwks`"
    NONE = "–"

    @property
    def is_public(self) -> bool:
        """Whether it may stand in a file."""
        return self in {Secrets.PUBLIC_KEY, Secrets.WEBHOOK_ID}

    @property
    def example(self) -> str:
        """How it is written in app.yaml."""
        return "8JC63… (or ${secrets.NAME})" if self.is_public else "${secrets.PARTNER_KEY}"


@dataclass(frozen=True, slots=True)
class Provider:
    """A row of the table: how a provider's requests are known to be its own, and to be copies, and how it is answered.

    `ids` are alternatives, each a list of places whose values together are the id; `is_id_signed` says whether the
    proof covers it. `types` are alternatives too. `copy_seconds` is for how long the same body is a copy, where it has
    no id: by default for as long as its time holds, or a day. `needs` are the keys a source of it must have beside
    `secrets`, `takes` those that it may have. `answer_seconds`: after that its sender gives up.
    `senders` says what stands under that key.
    """

    title: str
    proofs: tuple[Proof, ...]
    secrets: Secrets = Secrets.SHARED
    ids: tuple[tuple[Where, ...], ...] = ()
    is_id_signed: bool = True
    types: tuple[Where, ...] = ()
    copy_seconds: float | None = None
    handshake: Handshake | None = None
    form: Form = Form.ACCEPTED
    needs: Mapping[str, str] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    answer_seconds: float | None = None
    senders: str = ""
    note: str = ""

    @property
    def is_timed(self) -> bool:
        """Whether a request says when it was made, so that an old one can be refused."""
        return any(
            isinstance(proof, Certified | WebToken) or (isinstance(proof, Recipe) and proof.time is not None)
            for proof in self.proofs
        )
