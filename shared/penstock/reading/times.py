"""Reads what says when something recurs: cron expressions, time zones, periods; written out in a file, or as arguments
of a step.
"""

from datetime import datetime

from pydantic import JsonValue

from penstock.domain.moments import read_iso, to_utc
from penstock.domain.ticks import UTC_ZONE, Every, Overlap, check_cron, check_timezone, list_timezones
from penstock.expressions.tokens import did_you_mean
from penstock.reading.arguments import anything
from penstock.reading.documents import Node, Scalar
from penstock.reading.places import Report
from penstock.reading.reader import StepReader
from penstock.reading.scopes import is_template
from penstock.reading.tables import Table, read_text


def read_cron(table: Table, key: str) -> str | None:
    """The cron expression under a key; None after reporting a problem."""
    text, node = table.text(key), table.node(key)
    return text if text is not None and node is not None and _is_cron(text, node, key, table.report) else None


def read_timezone(table: Table, key: str) -> str | None:
    """The time zone under a key, UTC if there is none; None after reporting a problem."""
    text, node = table.text(key, UTC_ZONE), table.node(key)
    return text if text is not None and (node is None or _is_timezone(text, node, table.report)) else None


def read_time(table: Table, key: str) -> datetime | None:
    """The time with a zone under a key; None if there is none, or after reporting a problem."""
    text, node = table.text(key), table.node(key)
    if text is None or node is None:
        return None
    try:
        return to_utc(read_iso(text))
    except ValueError:
        table.expected(node, key, "a time with a zone, such as 2030-01-31T09:00:00Z")
        return None


def overlap(reader: StepReader, key: str, node: Node) -> JsonValue:
    """What becomes of overlapping ticks, or a template that gives it."""
    if is_template(node) and isinstance(node, Scalar):
        return anything(reader, key, node)
    return reader.table.one_of(key, [one.value for one in Overlap])


def cron(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A cron expression, or a template that gives one."""
    text = read_text(node, f"{key!r}", reader.report)
    if text is not None and not is_template(node):
        _is_cron(text, node, key, reader.report)
    return anything(reader, key, node)


def timezone(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A time zone, or a template that gives one."""
    text = read_text(node, f"{key!r}", reader.report)
    if text is not None and not is_template(node):
        _is_timezone(text, node, reader.report)
    return anything(reader, key, node)


def every(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A period, or a template that gives one."""
    if is_template(node) and isinstance(node, Scalar):
        return anything(reader, key, node)
    return reader.table.one_of(key, [period.value for period in Every])


def _is_cron(text: str, node: Node, key: str, report: Report) -> bool:
    try:
        check_cron(text)
    except ValueError as error:
        report.error(node.place, f"{key!r}: {error}")
        return False
    return True


def _zone_hint(text: str, zones: frozenset[str]) -> str:
    return "" if did_you_mean(text, zones) else "such as Europe/Paris or UTC"


def _is_timezone(text: str, node: Node, report: Report) -> bool:
    try:
        check_timezone(text)
    except ValueError:
        zones = list_timezones()
        city = text.strip().replace(" ", "_").casefold()
        meant = min((zone for zone in zones if zone.casefold().endswith(f"/{city}")), default="")
        hint = f"did you mean {meant!r}?" if meant else ""
        report.unknown(node.place, "time zone", text, zones, hint or _zone_hint(text, zones))
        return False
    return True
