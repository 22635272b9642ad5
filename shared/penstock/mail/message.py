"""A mail, and how it is written (RFC 5322, MIME).

The headers are written here, not by Python's `email.message`: what it makes of long names in other scripts differs
between releases. No value can end its header: control characters are spaces by then. Everything but a local part in
another script is ASCII.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from itertools import chain
from typing import Final

from penstock.domain.mail_addresses import Address

_POLICY: Final = SMTP.clone(cte_type="7bit")  # so that servers without 8BITMIME take it
_LINE: Final = 76
_MAX_LINE: Final = 900
"""RFC 5322 (2.1.1) allows 998. Lines are not folded at 78: a URL in a header is better left in one piece."""
_ATOMS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~ ")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a mail. `content_type` is `type/subtype`, perhaps with a charset."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to be sent. `message_id` has its angle brackets; `headers` are further ones, as pairs. At least one body
    is not None.
    """

    sender: Address
    to: tuple[Address, ...]
    subject: str
    message_id: str
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    text: str | None = None
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def recipients(self) -> tuple[Address, ...]:
        """All who get it, each once."""
        unique: dict[str, Address] = {}
        for address in (*self.to, *self.cc, *self.bcc):
            unique.setdefault(address.email.lower(), address)
        return tuple(unique.values())

    @property
    def is_international(self) -> bool:
        """Whether the server has to know SMTPUTF8, because an address cannot be written in ASCII."""
        return not all(address.is_ascii for address in (self.sender, *self.recipients, *self.reply_to))

    def leave_out(self, addresses: Collection[Address]) -> "Mail":
        """The same mail to everybody else."""
        to, cc, bcc = (
            tuple(address for address in group if address not in addresses) for group in (self.to, self.cc, self.bcc)
        )  # fmt: skip
        return replace(self, to=to, cc=cc, bcc=bcc)


def write_mail(mail: Mail, date: datetime) -> bytes:
    """The whole message with CRLF between its lines. Blind copies are named nowhere in it."""
    lines = [
        _fold("From", [_write_address(mail.sender)]),
        *(
            _fold(name, [_write_address(address) for address in addresses])
            for name, addresses in _address_headers(mail)
            if addresses
        ),
        _write_text("Subject", mail.subject),
        f"Date: {format_datetime(date)}",
        f"Message-ID: {mail.message_id}",
        *(_write_text(name, value) for name, value in mail.headers),
    ]
    return "\r\n".join(lines).encode() + b"\r\n" + _write_body(mail)


def clean_line(text: str) -> str:
    """`text` as one line: control characters and line breaks become spaces."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _address_headers(mail: Mail) -> Iterator[tuple[str, tuple[Address, ...]]]:
    yield "To", mail.to
    yield "Cc", mail.cc
    yield "Reply-To", mail.reply_to


def _write_address(address: Address) -> str:
    if not address.name:
        return address.email
    if "=?" in address.name or not address.name.isascii() or len(address.name) > _MAX_LINE // 2:
        return f"{_encode(address.name)} <{address.email}>"
    return f"{address.name} <{address.email}>" if _ATOMS.issuperset(address.name) else str(address)


def _fold(name: str, addresses: list[str]) -> str:
    """One address on each line: short enough for everybody, however many there are."""
    return f"{name}: " + ",\r\n ".join(addresses)


def _write_text(name: str, value: str) -> str:
    value = clean_line(value)
    is_plain = value.isascii() and len(value) <= _MAX_LINE and not any(word.startswith("=?") for word in value.split())
    return f"{name}: {value if is_plain else _encode(value)}"


def _encode(text: str) -> str:
    """Encoded words (RFC 2047), each on a line of its own."""
    return "\r\n ".join(Header(text, "utf-8", _LINE).encode().split())


def _write_body(mail: Mail) -> bytes:
    body = EmailMessage(_POLICY)
    if mail.text is not None:
        body.set_content(mail.text)
    if mail.html is not None and mail.text is not None:
        body.add_alternative(mail.html, subtype="html")
    elif mail.html is not None:
        body.set_content(mail.html, subtype="html")
    for attachment in mail.attachments:
        kind, subtype, charset = split_content_type(attachment.content_type)
        parameters = {"charset": charset} if charset else {}
        body.add_attachment(attachment.content, kind, subtype, filename=clean_line(attachment.name), params=parameters)
    return body.as_bytes()


def split_content_type(content_type: str) -> tuple[str, str, str]:
    """Type, subtype and charset. What cannot be attached as bytes (another mail, a multipart) is sent as mere bytes."""
    parts = [part.strip() for part in content_type.split(";")]
    kind, slash, subtype = parts[0].lower().partition("/")
    charsets = [part[8:].strip('" ') for part in parts[1:] if part.lower().startswith("charset=")]
    if not slash or kind in {"message", "multipart"} or not _is_token(kind) or not _is_token(subtype):
        return "application", "octet-stream", ""
    return kind, subtype, next(chain((name for name in charsets if _is_token(name)), [""]))


def _is_token(text: str) -> bool:
    return bool(text) and text.isascii() and all(character.isalnum() or character in "!#$&-^_.+" for character in text)
