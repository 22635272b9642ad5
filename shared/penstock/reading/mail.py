"""Reads what apps say about mail: `email` in app.yaml, and the arguments of `email` steps."""

from typing import Final

from pydantic import JsonValue

from penstock.definitions.email import EmailSettings, EmailTransport
from penstock.domain.mail_addresses import make_address, parse_address, parse_addresses
from penstock.domain.mail_headers import is_header_name, is_ours
from penstock.reading import arguments as take
from penstock.reading.documents import Mapping, Node, Scalar, Sequence, describe, to_json
from penstock.reading.expected import check_kind
from penstock.reading.reader import StepReader
from penstock.reading.scopes import Scope, check_templates, is_template, kind_of_node
from penstock.reading.tables import Table

_WHO: Final = frozenset({"text", "object", "list"})
_SECRETS: Final = Scope(frozenset({"secrets"}))


def read_email(table: Table) -> EmailSettings | None:
    """`email` of app.yaml: who sends the app's mail, and through whom."""
    if table.node("email") is None:
        return None
    email = table.table("email", "'email'")
    transport = email.choice("transport", EmailTransport, EmailTransport.SMTP)
    settings = EmailSettings(
        sender=_read_sender(email),
        transport=transport,
        api_key=_read_api_key(email, transport),
        base_url=_read_base_url(email, transport),
    )
    email.close()
    return settings


def _read_sender(table: Table) -> str | None:
    sender, node = table.text("from"), table.node("from")
    if sender is None or node is None:
        return None
    try:
        parse_address(sender)
    except ValueError as error:
        table.report.error(node.place, f"'from': {error}")
    return sender


def _read_api_key(table: Table, transport: EmailTransport) -> str | None:
    example = f'api_key: "${{secrets.{transport.name}_KEY}}"'
    if transport is EmailTransport.SMTP:
        if table.node("api_key") is not None:
            table.report.error(
                table.key_place("api_key"),
                "'api_key' is for the transports sendgrid and postmark",
                "the mail server is PENSTOCK_SMTP_URL",
            )
        return None
    table.require("from", 'from: "Shop <shop@example.com>"')
    if not table.require("api_key", example):
        return None
    key, node = table.text("api_key"), table.node("api_key")
    if key is not None and node is not None:
        check_templates(node, _SECRETS, table.report)
        if "${" not in key:
            table.report.warning(node.place, "the file contains a secret", f"write {example}")
    return key


def _read_base_url(table: Table, transport: EmailTransport) -> str | None:
    url, node = table.text("base_url"), table.node("base_url")
    if url is None or node is None:
        return None
    if transport is EmailTransport.SMTP:
        table.report.error(
            node.place, "'base_url' is for the transports sendgrid and postmark", "the mail server is PENSTOCK_SMTP_URL"
        )
    elif not url.startswith(("https://", "http://")):
        table.expected(node, "base_url", "a URL such as https://api.eu.sendgrid.com")
    return url.rstrip("/")


def recipients_target(reader: StepReader, key: str) -> JsonValue:
    """Whom an `email` step writes to."""
    node = reader.table.node(key)
    if node is None:
        reader.missing(key, "a recipient", 'such as "${params.email}"')
        return None
    return recipients(reader, key, node)


def recipients(reader: StepReader, key: str, node: Node) -> JsonValue:
    """Addresses as text, with commas between them; things with an `email`; `{name, email}`; or a list of such."""
    for item in node.items if isinstance(node, Sequence) else (node,):
        _check_recipient(reader, key, item)
    check_templates(node, reader.scope, reader.report)
    return to_json(node)


def _check_recipient(reader: StepReader, key: str, node: Node) -> None:
    if is_template(node):
        expected = "a mail address, a user, or a list of them"
        check_kind(node, key, kind_of_node(node, reader.scope), _WHO, expected, reader.report)
        return
    if isinstance(node, Scalar) and isinstance(node.value, str):
        try:
            if not parse_addresses(node.value):
                raise ValueError("nobody is named")
        except ValueError as error:
            reader.report.error(node.place, f"{key!r}: {error}")
    elif isinstance(node, Mapping):
        table = Table(node, node.place, f"an address in {key!r}", reader.report)
        table.node("name")
        table.require("email", "{name: Ada, email: ada@example.com}")
        _check_written(reader, key, table.node("email"))
        table.close()
    else:
        reader.report.error(node.place, f"{key!r}: expected a mail address, got {describe(node)}")


def _check_written(reader: StepReader, key: str, node: Node | None) -> None:
    if isinstance(node, Scalar) and isinstance(node.value, str) and not is_template(node):
        try:
            make_address("", node.value)
        except ValueError as error:
            reader.report.error(node.place, f"{key!r}: {error}")


def headers(reader: StepReader, key: str, node: Node) -> JsonValue:
    """Further headers, such as List-Unsubscribe; those that other keys set are refused."""
    if isinstance(node, Mapping):
        for name, _ in node.entries.values():
            if not is_header_name(name.text):
                reader.report.error(
                    name.place, f"{name.text!r} is not the name of a header", "such as List-Unsubscribe"
                )
            elif is_ours(name.text):
                reader.report.error(name.place, f"the header {name.text} is set by other keys of the step")
    return take.mapping(reader, key, node)


def attachments(reader: StepReader, key: str, node: Node) -> JsonValue:
    """Files, as `export` gives them, or `{name, content_type, text}` or `base64` instead of text; or a list of such."""
    for item in node.items if isinstance(node, Sequence) else (node,):
        if isinstance(item, Mapping):
            _check_attachment(reader, item)
        elif not is_template(item):
            reader.report.error(
                item.place, f"{key!r}: expected a file, got {describe(item)}", 'such as "${steps.report}"'
            )
    return take.anything(reader, key, node)


def _check_attachment(reader: StepReader, node: Mapping) -> None:
    table = Table(node, node.place, "an attachment", reader.report)
    for known in ("content_type", "text", "base64"):
        table.node(known)
    table.require("name", "name: orders.csv")
    if ("text" in table) == ("base64" in table):
        reader.report.error(
            node.place, "an attachment needs either text or base64", 'such as {name: note.txt, text: "${params.note}"}'
        )
    table.close()
