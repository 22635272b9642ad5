"""Text in the character set that a sender has declared. Only sets that browsers send too: the names of Python's codecs
include compressions and ciphers.
"""

import codecs
from typing import Final

from penstock.bodies.undecodable import Undecodable

MAX_NAME_LENGTH: Final = 40
_KNOWN: Final = frozenset(
    codecs.lookup(name).name
    for name in (
        "utf-8 ascii utf-16 utf-16-le utf-16-be latin-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 "
        "iso8859-8 iso8859-9 iso8859-10 iso8859-13 iso8859-14 iso8859-15 iso8859-16 cp866 cp874 cp1250 cp1251 cp1252 "
        "cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 koi8-r koi8-u mac-roman shift_jis euc_jp iso2022_jp gbk gb18030 "
        "gb2312 big5 euc_kr"
    ).split()
)
UTF_8: Final = "utf-8"


def find_charset(content_type: str) -> str:
    """The charset parameter of a content type, as Python calls it; UTF-8 where there is none. Raises Undecodable for
    one that is not known.
    """
    if "charset" not in content_type.lower():
        return UTF_8
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return check_charset(value.strip().strip("\"'"))
    return UTF_8


def check_charset(name: str) -> str:
    """The character set `name` as Python calls it. Raises Undecodable for one that is not known."""
    try:
        found = codecs.lookup(name).name if len(name) <= MAX_NAME_LENGTH and "\x00" not in name else ""
    except LookupError:
        found = ""
    if found not in _KNOWN:
        raise Undecodable(f"the character set {name[:MAX_NAME_LENGTH]!r} is not supported; send UTF-8")
    return found


def decode_text(raw: bytes, charset: str) -> str:
    """`raw` as text. Raises Undecodable."""
    try:
        return raw.decode(charset)
    except UnicodeError:
        raise Undecodable(f"the text is not {charset.upper()}, the character set it was declared in") from None
