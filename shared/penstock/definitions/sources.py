"""Who may send webhooks, as app.yaml says it."""

from typing import Literal

from pydantic import BaseModel


class Pick(BaseModel, frozen=True, extra="forbid"):
    """Where in a webhook request a value stands: a header, or a dotted path into the JSON payload."""

    header: str | None = None
    payload: str | None = None


class SourceTimestamp(BaseModel, frozen=True, extra="forbid"):
    """Where the signed time of a delivery stands, and how far it may be off in either direction.

    With a prefix, such as `t=`, it is one of several parts of that header.
    """

    header: str
    prefix: str = ""
    tolerance_seconds: float = 300.0


class Trust(BaseModel, frozen=True, extra="forbid"):
    """Where the certificates of a source may come from: hosts, in which `*` stands for any label, and the certificates
    (PEM) that theirs have to lead to.
    """

    hosts: tuple[str, ...] = ()
    ca: str | None = None


class Source(BaseModel, frozen=True, extra="forbid"):
    """Who may send webhooks. `secrets` are texts that may embed `${secrets.NAME}`; any of them may have signed.

    `scheme` is a row of `penstock.webhooks.provider_table`, which says what else a source of it has. `header`,
    `prefix`, `algorithm`, `encoding`, `key`, `signed` and `timestamp` are those of a signature that has no
    scheme of its own.
    """

    name: str
    scheme: str
    secrets: tuple[str, ...] = ()
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    key: Literal["text", "hex", "base64"] = "text"
    header: str | None = None
    prefix: str = ""
    signed: str = "{body}"
    url: str | None = None
    timestamp: SourceTimestamp | None = None
    tolerance_seconds: float | None = None
    verify_token: str | None = None
    issuer: str | None = None
    audience: tuple[str, ...] = ()
    jwks: str | None = None
    senders: tuple[str, ...] = ()
    trust: Trust | None = None
    deduplicate: Pick | None = None
    type: Pick | None = None
    place: str = ""
