"""Bodies as hostile strangers send them: the same ones for the same seed, each of at most 1 MiB."""

import gzip
import json
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

MAX_BYTES = 1024 * 1024
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
TYPES = (
    JSON, FORM, MULTIPART, "", "text/plain", "text/xml", "application/json; charset=utf-16", "text/plain; charset=zip",
    "application/json; charset=\u00e9", "multipart/form-data", "multipart/form-data; boundary=" + "b" * 300, "x" * 4000,
    "application/x-www-form-urlencoded; charset=idna", ";;;===", "application/vnd.api+json; charset=latin-1",
)  # fmt: skip
TEXTS = ("", "a", "\\u0000", "\\ud800", "\\udc00\\ud800", "é", "\\u202e", "=?utf-8?q?a?=", "__proto__", "${1}", "'; --")
NUMBERS = (
    "18446744073709551617", "-9223372036854775809", "1e308", "1e309", "-1e400", "1e-400", "1e-20000",
    "0." + "0" * 400 + "1", "0." + "1" * 20_000, "9" * 308, "9" * 309, "9" * 5000, "-0", "-0.0", "1E+2", "NaN",
    "Infinity", "0.1234567890123456789", "01", "1.", "0x10", "1" + "0" * 300 + ".5",
)  # fmt: skip


class Hostile(NamedTuple):
    """What is sent: a body and its headers."""

    body: bytes
    headers: dict[str, str]


def generate(seed: int, count: int) -> Iterator[Hostile]:
    """`count` bodies."""
    chance = random.Random(seed)
    for _ in range(count):
        make = chance.choice(_KINDS)
        yield make(chance)


def _json(body: str) -> Hostile:
    return Hostile(body.encode("utf-8", "surrogatepass")[:MAX_BYTES], {"Content-Type": JSON})


def _deep(chance: random.Random) -> Hostile:
    depth = chance.choice((60, 64, 65, 200, 1000, 5000, 400_000))
    opened, closed = chance.choice((("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")))
    depth = min(depth, MAX_BYTES // 2 // len(opened + closed))
    return _json(f'{{"value":{opened * depth}1{closed * depth * chance.randint(0, 1)}}}')


def _wide(chance: random.Random) -> Hostile:
    item = chance.choice(("{}", "[]", '{"a":1}', '""', "0", '"ab"', "0.1", "null", "12345678901234567890"))
    count = chance.choice((10, 1000, 20_000)) if chance.random() < 0.9 else MAX_BYTES // (len(item) + 1) - 20
    return _json(f'{{"value":[{",".join([item] * count)}]}}')


def _number(chance: random.Random) -> Hostile:
    numbers = ",".join(chance.choices(NUMBERS, k=chance.randint(1, 5)))
    return _json(f'{{"id":{chance.choice(NUMBERS)},"value":[{numbers}]}}')


def _text(chance: random.Random) -> Hostile:
    name, value, other = chance.choices(TEXTS, k=3)
    raw = chance.choice(("", "", "\x00", "\ud800"))
    return _json(f'{{"{name}":"{value}","value":{{"{other}":"{other * 50}{raw}"}}}}')


def _twice(chance: random.Random) -> Hostile:
    names = [chance.choice(("value", "id", "a")) for _ in range(chance.choice((2, 50, 5000)))]
    return _json("{" + ",".join(f'"{name}":{number}' for number, name in enumerate(names)) + "}")


def _charset(chance: random.Random) -> Hostile:
    charset = chance.choice(("utf-8", "utf-16", "utf-32", "latin-1", "utf-7", "cp037"))
    body = json.dumps({"value": "naïve"}, ensure_ascii=False).encode(charset)
    declared = chance.choice((charset, "utf-8", "ascii", "zip", "hex", "unicode_escape", "x" * 200))
    return Hostile(body, {"Content-Type": f"{chance.choice((JSON, 'text/plain', FORM))}; charset={declared}"})


def _bomb(chance: random.Random) -> Hostile:
    body = gzip.compress(b"0" * chance.choice((10_000, 10_000_000)))
    encoding = chance.choice(("gzip", "deflate", "br", "gzip, gzip", ""))
    return Hostile(body, {"Content-Type": JSON, **({"Content-Encoding": encoding} if encoding else {})})


def _multipart(chance: random.Random) -> Hostile:
    part = b'--b\r\nContent-Disposition: form-data; name="value"\r\n'
    count = chance.choice((1, 100, 10_000))
    body = chance.choice(
        (
            part + b"X: " + b"=?utf-8?q?a?=" * count + b"\r\n\r\n1\r\n--b--\r\n",
            part + b"X: " + b"a=b;" * count + b"\r\n\r\n1\r\n--b--\r\n",
            (part + b"\r\n\x00\xff\r\n") * count + b"--b--\r\n",
            part * count,
            part + b"\r\n" + b"\r\n--b" * count,
            part + b"Content-Type: multipart/mixed; boundary=c\r\n\r\n" + b"--c\r\n\r\n" * count + b"--b--\r\n",
        )
    )
    return Hostile(body[:MAX_BYTES], {"Content-Type": MULTIPART})


def _form(chance: random.Random) -> Hostile:
    count = chance.choice((1, 100, 999, 1001, 100_000))
    field = chance.choice(
        (b"value=1", b"value[]=%00", b"value[0]=%ff", b"value[a][b]=1", b"&", b"value[999999999]=x", b"%")
    )
    return Hostile(b"&".join([field] * count)[:MAX_BYTES], {"Content-Type": FORM})


def _noise(chance: random.Random) -> Hostile:
    return Hostile(chance.randbytes(chance.choice((0, 1, 100, 10_000))), {"Content-Type": chance.choice(TYPES)})


_KINDS: tuple[Callable[[random.Random], Hostile], ...] = (
    _deep, _wide, _number, _text, _twice, _charset, _bomb, _multipart, _form, _noise,
)  # fmt: skip
