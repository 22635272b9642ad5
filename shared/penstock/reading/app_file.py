"""Reads app.yaml: name, admins, limits per environment, who may send webhooks, who is called, and how mail is sent."""

import re
from typing import Final, Literal, NamedTuple

from penstock.definitions.models import (
    ENVIRONMENTS,
    MAX_CHAIN_WORKLOAD,
    Connector,
    EmailSettings,
    EnvironmentLimits,
    Pick,
    Source,
    SourceTimestamp,
    default_limits,
)
from penstock.definitions.notifications import Notifications
from penstock.domain.addresses import parse_address
from penstock.domain.depth import MAX_DEPTH
from penstock.reading.connectors import read_connectors
from penstock.reading.documents import Node, Scalar
from penstock.reading.index import NAME, read_name
from penstock.reading.mail import read_email
from penstock.reading.notifications import read_notifications
from penstock.reading.places import Place, Report, shorten
from penstock.reading.scopes import Scope, check_templates, is_template
from penstock.reading.tables import Table

MAX_CHAIN_RUNS: Final = 10**12
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_SIGNED_PARTS: Final = frozenset({"body", "timestamp", "id", "url", "method", "path"})
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_SECRETS: Final = Scope(frozenset({"secrets"}))


class AppHead(NamedTuple):
    """What app.yaml says."""

    name: str
    admins: tuple[str, ...]
    notifications: Notifications | None
    environments: dict[str, EnvironmentLimits]
    sources: dict[str, Source]
    connectors: dict[str, Connector]
    email: EmailSettings | None
    python: dict[str, Place]


def read_app_file(document: Node, report: Report) -> AppHead:
    """The content of app.yaml; problems go to the report."""
    table = Table(document, document.place, "app.yaml", report)
    head = AppHead(
        name=read_name(table, "app", "app: shop", 63) or "",
        admins=_read_admins(table),
        notifications=read_notifications(table),
        environments=_read_environments(table),
        sources=_read_sources(table),
        connectors=read_connectors(table),
        email=read_email(table),
        python=_read_python(table),
    )
    table.close()
    return head


def _read_admins(table: Table) -> tuple[str, ...]:
    admins = table.texts("admins")
    for address, place in admins:
        try:
            parse_address(address)
        except ValueError as error:
            table.report.error(place, str(error))
    return tuple(address for address, _ in admins)


def _read_python(table: Table) -> dict[str, Place]:
    modules: dict[str, Place] = {}
    for name, place in table.texts("python"):
        if _MODULE.fullmatch(name):
            modules.setdefault(name, place)
        else:
            hint = (
                f"did you mean {name.removesuffix('.py').strip('./').replace('/', '.')!r}?"
                if "/" in name or name.endswith(".py")
                else ""
            )
            table.report.error(
                place, f"{shorten(name)!r} is not the name of a module", hint or "such as shop.workflows"
            )
    return modules


def _read_environments(table: Table) -> dict[str, EnvironmentLimits]:
    environments = table.table("environments", "'environments'")
    limits: dict[str, EnvironmentLimits] = {}
    for name in ENVIRONMENTS:
        given = environments.table(name, f"the environment {name!r}")
        default = default_limits(name)
        depth_limit = given.integer("depth_limit", 0, MAX_DEPTH)
        chain_runs_limit = given.integer("chain_runs_limit", 1, MAX_CHAIN_RUNS)
        policy, workload = given.one_of("depth_policy", ("terminate", "observe")), given.node("chain_workload_limit")
        is_limited = not isinstance(workload, Scalar) or workload.value is not None
        limits[name] = EnvironmentLimits(
            depth_policy="observe" if policy == "observe" else "terminate",
            chain_workload_limit=given.number("chain_workload_limit", 1, MAX_CHAIN_WORKLOAD) if is_limited else None,
            depth_limit=default.depth_limit if depth_limit is None else depth_limit,
            chain_runs_limit=default.chain_runs_limit if chain_runs_limit is None else chain_runs_limit,
            notifications=read_notifications(given),
        )
        given.close()
    environments.close()
    return limits


def _read_sources(table: Table) -> dict[str, Source]:
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
    scheme = table.one_of("scheme", ["stripe", "github", "hmac"])
    source = Source(
        name=name,
        scheme=_scheme(scheme),
        secrets=_read_secrets(table),
        deduplicate=_read_pick(table, "deduplicate"),
        type=_read_pick(table, "type"),
        place=str(table.place),
    )
    if scheme == "hmac":
        source = _read_hmac(table, source)
    if scheme is not None:
        table.close()
    return source


def _scheme(scheme: str | None) -> Literal["stripe", "github", "hmac"]:
    return "stripe" if scheme == "stripe" else "github" if scheme == "github" else "hmac"


def _read_secrets(table: Table) -> tuple[str, ...]:
    if not table.require("secrets", 'secrets: ["${secrets.PARTNER_KEY}"]'):
        return ()
    node = table.node("secrets")
    secrets = table.texts("secrets")
    if node is not None:
        check_templates(node, _SECRETS, table.report)
        if not secrets:
            table.report.error(node.place, f"{table.what} needs at least one secret")
    for secret, place in secrets:
        if "${" not in secret:
            table.report.warning(
                place, "a secret stands in the file", "write ${secrets.NAME} and set PENSTOCK_SECRET_<NAME>"
            )
    return tuple(secret for secret, _ in secrets)


def _read_pick(table: Table, key: str) -> Pick | None:
    if table.node(key) is None:
        return None
    picked = table.table(key, f"{key!r}")
    pick = Pick(header=_read_header(picked, "header"), payload=picked.text("payload"))
    if ("header" in picked) == ("payload" in picked):
        table.report.error(
            table.key_place(key), f"{key!r} needs either header or payload", "such as {payload: data.id}"
        )
    picked.close()
    return pick


def _read_header(table: Table, key: str) -> str | None:
    header = table.text(key)
    node = table.node(key)
    if header is not None and node is not None and not _HEADER.fullmatch(header):
        table.report.error(node.place, f"{header!r} is not the name of a header", "such as X-Signature")
    return header


def _read_hmac(table: Table, source: Source) -> Source:
    table.require("header", "header: X-Signature")
    given = {
        "algorithm": table.one_of("algorithm", ["sha1", "sha256", "sha384", "sha512"]),
        "encoding": table.one_of("encoding", ["hex", "base64", "base64url"]),
        "header": _read_header(table, "header"),
        "prefix": table.text("prefix"),
        "signed": table.text("signed"),
        "url": table.text("url"),
        "timestamp": _read_timestamp(table),
    }
    source = source.model_copy(update={name: value for name, value in given.items() if value is not None})
    _check_signed(table, source)
    return source


def _read_timestamp(table: Table) -> SourceTimestamp | None:
    if table.node("timestamp") is None:
        return None
    timestamp = table.table("timestamp", "'timestamp'")
    timestamp.require("header", "header: X-Timestamp")
    header, tolerance = _read_header(timestamp, "header"), timestamp.seconds("tolerance", is_zero_allowed=False)
    timestamp.close()
    default = SourceTimestamp(header=header or "")
    return default if tolerance is None else default.model_copy(update={"tolerance_seconds": tolerance})


def _check_signed(table: Table, source: Source) -> None:
    node = table.node("signed")
    place = node.place if node else table.place
    parts = frozenset(_PLACEHOLDER.findall(source.signed))
    for part in sorted(parts - _SIGNED_PARTS):
        table.report.unknown(place, "part of 'signed'", part, _SIGNED_PARTS)
    if is_template(node):
        table.report.error(place, "'signed' names parts of the request as {body}, not as ${body}")
    elif "body" not in parts:
        table.report.error(place, "'signed' needs {body}", "or anybody could change the body of a signed request")
    has_id = source.deduplicate is not None and source.deduplicate.header is not None
    needs = {"timestamp": source.timestamp is not None, "url": source.url is not None, "id": has_id}
    keys = {"timestamp": "timestamp", "url": "url", "id": "deduplicate: {header: …}"}
    for part in sorted(parts & set(needs)):
        if not needs[part]:
            table.report.error(place, f"'signed' uses {{{part}}}, so {table.what} needs {keys[part]}")
