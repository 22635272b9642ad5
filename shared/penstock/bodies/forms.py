"""Forms as data: a name that occurs several times is a list, and so are `tags[]` and `tags[0]`."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl

from pydantic import JsonValue

from penstock.bodies.charsets import UTF_8, decode_text, find_charset
from penstock.bodies.undecodable import Undecodable

MAX_FIELDS: Final = 1000
_ITEM: Final = re.compile(r"([^\[\]]+)\[(\d{0,9})\]")
_LAST: Final = 10**9


def parse_form(text: str, charset: str = UTF_8) -> dict[str, JsonValue]:
    """The fields of a form or query. Raises Undecodable."""
    try:
        return gather(
            parse_qsl(text, keep_blank_values=True, errors="strict", encoding=charset, max_num_fields=MAX_FIELDS)
        )
    except UnicodeError:
        raise Undecodable(f"the form cannot be read: a percent-encoded text is not {charset.upper()}") from None
    except ValueError:
        raise Undecodable(f"the form cannot be read: it has more than {MAX_FIELDS} fields") from None


def parse_body_form(body: bytes, content_type: str = "") -> dict[str, JsonValue]:
    """The fields of a body of type application/x-www-form-urlencoded. Raises Undecodable."""
    charset = find_charset(content_type)
    return parse_form(decode_text(body, charset), charset)


def gather(pairs: Iterable[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """Values by name. A name that occurs several times has a list, in order; `name[]` and `name[3]` always have one, in
    the order of their numbers, and those without a number last.
    """
    fields: dict[str, list[tuple[int, JsonValue]]] = {}
    lists: set[str] = set()
    for name, value in pairs:
        position = 0
        if name.endswith("]") and (item := _ITEM.fullmatch(name)) is not None:
            name, position = item[1], int(item[2]) if item[2] else _LAST
            lists.add(name)
        fields.setdefault(name, []).append((position, value))
    return {
        name: values[0][1]
        if len(values) == 1 and name not in lists
        else [value for _, value in sorted(values, key=lambda item: item[0])]
        for name, values in fields.items()
    }
