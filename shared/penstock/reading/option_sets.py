"""Reads `options` of app.yaml: option sets, static lists of texts, such as `status: [new, paid]`."""

import re
from typing import Final

from penstock.definitions.models import ScalarType
from penstock.definitions.options import OptionSet
from penstock.reading.documents import Scalar
from penstock.reading.places import Report, shorten
from penstock.reading.tables import Table

MAX_OPTIONS: Final = 1_000
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_BUILT_IN: Final = frozenset(kind.value for kind in ScalarType) | {"user"}


def read_option_sets(table: Table) -> dict[str, OptionSet]:
    """All option sets by name."""
    given = table.table("options", "'options'", "such as status: [new, paid]")
    found: dict[str, OptionSet] = {}
    for key, _ in given.entries():
        if _is_name(key, table.report):
            found[key.text] = OptionSet(values=_read_values(given, key.text), place=str(key.place))
    return found


def _is_name(key: Scalar, report: Report) -> bool:
    if key.text in _BUILT_IN:
        report.error(key.place, f"{key.text!r} is a built-in type", "choose another name")
    elif not _NAME.fullmatch(key.text):
        hint = "use at most 63 of the characters a-z 0-9 _, a letter first"
        report.error(key.place, f"{shorten(key.text)!r} cannot name an option set", hint)
    else:
        return True
    return False


def _read_values(table: Table, name: str) -> tuple[str, ...]:
    values: dict[str, None] = {}
    for text, place in table.texts(name):
        if text in values:
            table.report.error(place, f"the option {shorten(text)!r} of {name!r} is there twice")
        elif not text or text != text.strip() or not text.isprintable():
            what = "is empty, or has spaces around it or characters that cannot be seen"
            table.report.error(place, f"the option {shorten(text)!r} of {name!r} {what}")
        values[text] = None
    if not values:
        table.report.error(table.key_place(name), f"the option set {name!r} has no options", "such as [new, paid]")
    if len(values) > MAX_OPTIONS:
        message = f"an option set may have {MAX_OPTIONS} options, and {name!r} has {len(values)}"
        table.report.error(table.key_place(name), message, "make it a data type")
    return tuple(values)
