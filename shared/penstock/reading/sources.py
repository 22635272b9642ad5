"""Reads `sources` in app.yaml: who may send webhooks. Which keys a source has is in the row of its scheme
(`penstock.webhooks.provider_table`).
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from penstock.definitions.sources import Pick, Source, SourceTimestamp, Trust
from penstock.reading.documents import Node
from penstock.reading.index import NAME
from penstock.reading.places import shorten
from penstock.reading.scopes import Scope, check_templates, is_template
from penstock.reading.tables import Table
from penstock.webhooks.certificates import read_authorities
from penstock.webhooks.provider_table import PROVIDERS
from penstock.webhooks.recipes import Provider, Secrets
from penstock.webhooks.sources import ID_LIFETIME

_PEM: Final = "-----BEGIN CERTIFICATE-----"
_HOST: Final = re.compile(r"(\*|[A-Za-z0-9_-]+)(\.(\*|[A-Za-z0-9_-]+))*(:\d{1,5})?")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_SIGNED_PARTS: Final = frozenset({"body", "timestamp", "id", "url", "method", "path"})
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRETS: Final = Scope(frozenset({"secrets"}))


def read_sources(table: Table) -> dict[str, Source]:
    """The sources of app.yaml, by name; problems go to the report."""
    sources: dict[str, Source] = {}
    for key, node in table.table("sources", "'sources'").entries():
        if not NAME.fullmatch(key.text) or len(key.text) > 63:
            table.report.error(
                key.place, f"{key.text!r} is not a name", "use at most 63 of the characters A-Z a-z 0-9 _ -"
            )
            continue
        source = _read_source(key.text, Table(node, key.place, f"the source {key.text!r}", table.report))
        if source is not None:
            sources[key.text] = source
    return sources


def _read_source(name: str, table: Table) -> Source | None:
    if not table.require("scheme", "scheme: stripe"):
        return None
    scheme = table.one_of("scheme", PROVIDERS)
    provider = PROVIDERS[scheme or "hmac"]
    given: dict[str, object] = {
        "secrets": _read_secrets(table, provider),
        "deduplicate": _read_pick(table, "deduplicate"),
        "type": _read_pick(table, "type"),
    }
    for key in () if scheme is None else keys_of(scheme):
        if key in provider.needs:
            table.require(key, provider.needs[key])
        given |= _READERS[key](table, key)
    source = Source(name=name, scheme=scheme or "hmac", place=str(table.place)).model_copy(
        update={key: value for key, value in given.items() if value is not None}
    )
    if scheme is None:
        return source
    if scheme == "hmac":
        _check_signed(table, source)
    if "senders" in provider.takes and provider.secrets is Secrets.NONE and not source.senders:
        hint = "list who may under `senders`: " + provider.senders
        table.report.warning(table.place, f"everybody with an account there can send to {table.what}", hint)
    table.close()
    return source


def keys_of(scheme: str) -> tuple[str, ...]:
    """The keys that a source of this scheme has beside those which all have."""
    provider = PROVIDERS[scheme]
    return (*provider.needs, *provider.takes, *(("tolerance",) if provider.is_timed else ()))


def _read_secrets(table: Table, provider: Provider) -> tuple[str, ...]:
    if provider.secrets is Secrets.NONE or (provider.secrets is Secrets.KEY and _has_keys_elsewhere(table)):
        return ()
    if not table.require("secrets", f'secrets: ["{provider.secrets.example}"]'):
        return ()
    node = table.node("secrets")
    secrets = table.texts("secrets")
    if node is not None:
        check_templates(node, _SECRETS, table.report)
        if not secrets:
            table.report.error(node.place, f"{table.what} needs at least one secret")
    for secret, place in secrets:
        if "${" not in secret and not provider.secrets.is_public:
            table.report.warning(
                place, "the file contains a secret", "write ${secrets.NAME} and set PENSTOCK_SECRET_<NAME>"
            )
    return tuple(secret for secret, _ in secrets)


def _has_keys_elsewhere(table: Table) -> bool:
    """Whether the keys are not shared ones: those of a set, or, which is a problem, none."""
    has_secrets, has_set = table.node("secrets") is not None, table.node("jwks") is not None
    if has_secrets and has_set:
        table.report.error(table.key_place("secrets"), f"{table.what} needs either 'jwks' or 'secrets', not both")
    elif not has_secrets:
        table.require("jwks", "jwks: https://idp.example.com/.well-known/jwks.json, or secrets for HS256")
    return not has_secrets or has_set


def _read_pick(table: Table, key: str) -> Pick | None:
    if table.node(key) is None:
        return None
    picked = table.table(key, f"{key!r}")
    pick = Pick(header=_header(picked, "header"), payload=picked.text("payload"))
    if ("header" in picked) == ("payload" in picked):
        table.report.error(
            table.key_place(key), f"{key!r} needs either header or payload", "such as {payload: data.id}"
        )
    picked.close()
    return pick


def _header(table: Table, key: str) -> str | None:
    header = table.text(key)
    node = table.node(key)
    if header is not None and node is not None and not _HEADER.fullmatch(header):
        table.report.error(node.place, f"{header!r} is not the name of a header", "such as X-Signature")
    return header


def _read_header(table: Table, key: str) -> dict[str, object]:
    return {key: _header(table, key)}


def _read_text(table: Table, key: str) -> dict[str, object]:
    return {key: table.text(key)}


def _read_secret_text(table: Table, key: str) -> dict[str, object]:
    node = table.node(key)
    if node is not None:
        check_templates(node, _SECRETS, table.report)
    return {key: table.text(key)}


def _read_url(table: Table, key: str) -> dict[str, object]:
    url, node = table.text(key), table.node(key)
    if url is not None and node is not None and not _is_url(url):
        table.report.error(
            node.place, f"{key!r}: {url!r} is not a URL", "such as https://hooks.example.com/webhooks/partner"
        )
    return {key: url}


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _one_of(*words: str) -> Callable[[Table, str], dict[str, object]]:
    return lambda table, key: {key: table.one_of(key, words)}


def _read_tolerance(table: Table, key: str) -> dict[str, object]:
    return {"tolerance_seconds": _tolerance(table, key)}


def _tolerance(table: Table, key: str) -> float | None:
    seconds, node = table.seconds(key, is_zero_allowed=False), table.node(key)
    if seconds is not None and node is not None and seconds > ID_LIFETIME.total_seconds():
        most = f"{ID_LIFETIME.days}d"
        table.report.error(node.place, f"{key!r}: at most {most}", "for so long copies of a delivery are known")
    return seconds


def _read_timestamp(table: Table, key: str) -> dict[str, object]:
    if table.node(key) is None:
        return {}
    timestamp = table.table(key, f"{key!r}")
    timestamp.require("header", "header: X-Timestamp")
    header, tolerance = _header(timestamp, "header"), _tolerance(timestamp, "tolerance")
    default = SourceTimestamp(header=header or "", prefix=timestamp.text("prefix") or "")
    timestamp.close()
    return {key: default if tolerance is None else default.model_copy(update={"tolerance_seconds": tolerance})}


def _read_texts(table: Table, key: str) -> dict[str, object]:
    return {key: tuple(text for text, _ in table.texts(key)) or None}


def _read_jwks(table: Table, key: str) -> dict[str, object]:
    node = table.node(key)
    given = _read_url(table, key)
    if node is not None and str(given[key]).startswith("http:"):
        table.report.warning(node.place, "keys that come over http can be changed on their way", "write https://")
    return given


def _read_trust(table: Table, key: str) -> dict[str, object]:
    if table.node(key) is None:
        return {}
    trust = table.table(key, f"{key!r}")
    hosts, ca = trust.texts("hosts"), trust.text("ca")
    for host, place in hosts:
        if not _HOST.fullmatch(host):
            table.report.error(place, f"{host!r} is not a host", "such as *.example.com or keys.example.com:8443")
    if ca is not None:
        ca = _read_authorities(trust, ca)
    trust.close()
    return {key: Trust(hosts=tuple(host for host, _ in hosts), ca=ca)}


def _read_authorities(trust: Table, name: str) -> str | None:
    """The certificates in a file of the app, or written out."""
    node = trust.node("ca")
    place = node.place if node is not None else trust.place
    try:
        text = name if _PEM in name else (trust.report.directory or Path()).joinpath(name).read_text()
        read_authorities(text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not hold a certificate as PEM"
        trust.report.error(place, f"'ca': {shorten(name)!r} cannot be read ({reason})", "name a file of the app")
        return None
    return text


_READERS: Final[Mapping[str, Callable[[Table, str], dict[str, object]]]] = {
    "audience": _read_texts,
    "issuer": _read_text,
    "jwks": _read_jwks,
    "senders": _read_texts,
    "trust": _read_trust,
    "algorithm": _one_of("sha1", "sha256", "sha384", "sha512"),
    "encoding": _one_of("hex", "base64", "base64url"),
    "key": _one_of("text", "hex", "base64"),
    "header": _read_header,
    "prefix": _read_text,
    "signed": _read_text,
    "timestamp": _read_timestamp,
    "tolerance": _read_tolerance,
    "url": _read_url,
    "verify_token": _read_secret_text,
}


def _check_signed(table: Table, source: Source) -> None:
    node: Node | None = table.node("signed")
    place = node.place if node else table.place
    parts = frozenset(_PLACEHOLDER.findall(source.signed))
    for part in sorted(parts - _SIGNED_PARTS):
        table.report.unknown(place, "part of 'signed'", part, _SIGNED_PARTS)
    if is_template(node):
        table.report.error(place, "'signed' names parts of the request as {body}, not as ${body}")
    elif "body" not in parts:
        table.report.error(place, "'signed' needs {body}", "or anybody could change the body of a signed request")
    timestamp = source.timestamp
    if timestamp is not None and timestamp.prefix and timestamp.header.lower() != (source.header or "").lower():
        hint = f"write header: {source.header}, or leave the prefix out"
        table.report.error(table.key_place("timestamp"), "a time with a prefix stands in the signature's header", hint)
    has_id = source.deduplicate is not None and source.deduplicate.header is not None
    needs = {"timestamp": source.timestamp is not None, "url": source.url is not None, "id": has_id}
    keys = {"timestamp": "timestamp", "url": "url", "id": "deduplicate: {header: …}"}
    for part in sorted(parts & set(needs)):
        if not needs[part]:
            table.report.error(place, f"'signed' uses {{{part}}}, so {table.what} needs {keys[part]}")
