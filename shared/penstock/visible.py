"""Text of others as a terminal may show it: what a terminal would act on instead of showing it is written out.

Texts that strangers send hold escape sequences that move the cursor, rewrite lines and set titles, and marks that turn
the reading direction around, so that a line seems to say something else (CWE-150, CVE-2021-42574). They are stored as
they came; only where a person reads them do they become visible.
"""

import re
from typing import Final

_ACTED_ON: Final = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    "\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069"  # reading direction; what has no width
    "\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # other ends of lines; marks without a picture
    "\U000e0000-\U000e0fff"  # tags
    "\ud800-\udfff"  # halves of a pair, which no terminal can be sent
    "]"
)


def make_visible(text: str) -> str:
    """`text` with each such character written as in Python and JSON: `\\x1b`, `\\u202e`. Tabs and line feeds stay."""
    return text if text.isprintable() else _ACTED_ON.sub(_write_out, text)


def make_json_visible(text: str) -> str:
    """The same for a JSON document: other escapes of the same characters, so that it is the same value. JSON itself
    escapes what is below a space.
    """
    return text if text.isascii() and "\x7f" not in text else _ACTED_ON.sub(_escape_json, text)


def _write_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[first : first + 2].hex()}" for first in range(0, len(units), 2))
