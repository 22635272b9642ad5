"""Mail addresses as people write them: `a@example.com`, `Ada <a@example.com>`, several with commas between them.

What is accepted can be sent to a mail server without harm: no control characters, so nothing can be smuggled into a
header or a command; names and domains in any script. Quoted local parts and address literals (RFC 5321), which nobody
has, are refused.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import idna

MAX_LOCAL_BYTES: Final = 64
MAX_EMAIL_BYTES: Final = 254
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u00a1-\U0010ffff]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAMED: Final = re.compile(r"(?P<name>.*?)<(?P<email>[^<>]*)>", re.DOTALL)
_MAX_SHOWN: Final = 80


class Address(NamedTuple):
    """A mail address with a name, which may be empty. `domain` is ASCII: other scripts are in their IDNA form."""

    name: str
    local: str
    domain: str

    @property
    def email(self) -> str:
        """The address alone, without the name."""
        return f"{self.local}@{self.domain}"

    @property
    def is_ascii(self) -> bool:
        """Whether every mail server can take it; others need the extension SMTPUTF8 (RFC 6531)."""
        return self.local.isascii()

    def __str__(self) -> str:
        if not self.name:
            return self.email
        quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{self.email}>'


def parse_addresses(text: str) -> tuple[Address, ...]:
    """The addresses in `text`, in order; none in an empty text. Raises ValueError naming the one that is none."""
    return tuple(_parse(part) for part in _split(text) if part.strip())


def parse_address(text: str) -> Address:
    """The one address in `text`. Raises ValueError."""
    found = parse_addresses(text)
    if len(found) != 1:
        raise ValueError(f"expected one mail address, got {len(found)}")
    return found[0]


def make_address(name: str, email: str) -> Address:
    """An address of a name, whose control characters become spaces, and `ada@example.com`. Raises ValueError."""
    local, at, domain = email.strip().rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or not local.isprintable() or len(local.encode()) > MAX_LOCAL_BYTES:
        raise ValueError(_refusal(email))
    address = Address(_clean(name), local, _encode_domain(domain, email))
    if len(address.email.encode()) > MAX_EMAIL_BYTES:
        raise ValueError(_refusal(email))
    return address


def _split(text: str) -> Iterator[str]:
    """The parts between commas that are neither in quotes nor in angle brackets."""
    part: list[str] = []
    is_quoted = is_escaped = is_bracketed = False
    for character in text:
        if is_escaped:
            is_escaped = False
        elif is_quoted:
            is_escaped, is_quoted = character == "\\", character != '"'
        elif character == '"' and not is_bracketed:
            is_quoted = True
        elif character in "<>":
            is_bracketed = character == "<"
        elif character == "," and not is_bracketed:
            yield "".join(part)
            part.clear()
            continue
        part.append(character)
    yield "".join(part)


def _parse(part: str) -> Address:
    named = _NAMED.fullmatch(part.strip())
    if named is None:
        return make_address("", part)
    name = named["name"].strip()
    if len(name) >= 2 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    elif (
        "@" in name or not name.isprintable()
    ):  # more likely two addresses than a name, and the wrong one would get the mail
        raise ValueError(_refusal(part))
    return make_address(name, named["email"])


def _encode_domain(domain: str, email: str) -> str:
    try:
        encoded = domain.lower() if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        raise ValueError(_refusal(email)) from None
    if not all(_LABEL.fullmatch(label) for label in encoded.split(".")):
        raise ValueError(_refusal(email))
    return encoded


def _clean(name: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in name).split())


def _refusal(email: str) -> str:
    shown = email.strip()
    shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"
    hint = (
        "such as ada@example.com"
        if "@" in shown
        else "such as ada@example.com; put a name that contains a comma in quotes"
    )
    return f"{shown!r} is not a mail address, {hint}"
