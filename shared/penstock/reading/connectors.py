"""Reads `connectors` of app.yaml: the services that `call` steps call, with what all calls of each have in common."""

import re
from typing import Final

from penstock.definitions.connectors import CONNECTION_HEADERS, find_base_url_problem, is_network
from penstock.definitions.models import Connector
from penstock.reading.documents import Node, Scalar
from penstock.reading.index import NAME
from penstock.reading.scopes import Scope, check_templates, is_template
from penstock.reading.tables import Table, read_text

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRETS: Final = Scope(frozenset({"secrets"}))
_CREDENTIALS: Final = frozenset({"authorization", "x-api-key", "api-key", "proxy-authorization", "cookie"})


def read_connectors(table: Table) -> dict[str, Connector]:
    """The connectors by name; problems go to the report."""
    connectors: dict[str, Connector] = {}
    for key, node in table.table("connectors", "'connectors'").entries():
        if not NAME.fullmatch(key.text) or len(key.text) > 63:
            table.report.error(
                key.place, f"{key.text!r} is not a name", "use at most 63 of the characters A-Z a-z 0-9 _ -"
            )
            continue
        connector = _read_connector(
            key.text, Table(node, key.place, f"the connector {key.text!r}", table.report, _write(node))
        )
        if connector is not None:
            connectors[key.text] = connector
    return connectors


def _write(node: Node) -> str:
    return f"write {{base_url: {node.text}}}" if isinstance(node, Scalar) else ""


def _read_connector(name: str, table: Table) -> Connector | None:
    base_url = _read_base_url(table)
    default = Connector(name=name, base_url="")
    timeout = table.seconds("timeout", is_zero_allowed=False)
    connector = Connector(
        name=name,
        base_url=base_url or "",
        headers=_read_headers(table),
        timeout_seconds=default.timeout_seconds if timeout is None else timeout,
        allow_private=_read_allow_private(table),
        place=str(table.place),
    )
    table.close()
    return None if base_url is None else connector


def _read_base_url(table: Table) -> str | None:
    if not table.require("base_url", "base_url: https://api.example.com/v1"):
        return None
    url, node = table.text("base_url"), table.node("base_url")
    if url is None or node is None:
        return None
    check_templates(node, _SECRETS, table.report)
    problem = None if is_template(node) else find_base_url_problem(url)
    if problem is not None:
        table.report.error(node.place, f"'base_url' cannot be called: {problem}", "such as https://api.example.com/v1")
    return url


def _read_headers(table: Table) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, node in table.table("headers", "'headers'").entries():
        if not _HEADER.fullmatch(key.text):
            table.report.error(key.place, f"{key.text!r} is not the name of a header", "such as X-Api-Key")
        elif key.text.lower() in CONNECTION_HEADERS:
            table.report.error(key.place, f"the header {key.text!r} is set by the connection", "leave it out")
        check_templates(node, _SECRETS, table.report)
        text = read_text(node, f"the header {key.text!r}", table.report)
        if text is None:
            continue
        headers[key.text] = text
        if key.text.lower() in _CREDENTIALS and not is_template(node):
            table.report.warning(
                node.place, "the file contains a secret", "write ${secrets.NAME} and set PENSTOCK_SECRET_<NAME>"
            )
    return headers


def _read_allow_private(table: Table) -> bool | tuple[str, ...]:
    node = table.node("allow_private")
    if node is None or (isinstance(node, Scalar) and isinstance(node.value, bool)):
        return table.boolean("allow_private")
    networks = table.texts("allow_private")
    for network, place in networks:
        if not is_network(network):
            table.report.error(
                place, f"{network!r} is not a network", "write true, or addresses and networks such as 10.1.0.0/16"
            )
    return tuple(network for network, _ in networks)
