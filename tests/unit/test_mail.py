"""Mail addresses, messages and the mail server's URL: what is accepted, and that nothing can be smuggled in."""

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as some

from penstock.domain.mail_addresses import Address, make_address, parse_address, parse_addresses
from penstock.mail.message import Attachment, Mail, split_content_type, write_mail
from penstock.mail.settings import MailServer, MailSettings, parse_smtp_url

ADA: Final = Address("Ada", "ada", "example.com")
NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


MAIL: Final = Mail(sender=ADA, to=(ADA,), subject="Hello", message_id="<1@example.com>", text="hi")


def read(raw: bytes) -> EmailMessage:
    """A mail as somebody else's program reads it."""
    return message_from_bytes(raw, EmailMessage, policy=default)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("", []),
        (" , ", []),
        ("ada@example.com", [("", "ada@example.com")]),
        ("Ada <ada@Example.com>, bob@x.org", [("Ada", "ada@example.com"), ("", "bob@x.org")]),
        ('"Müller, Hans" <h@x.org>', [("Müller, Hans", "h@x.org")]),
        (r'"Ada \"the\" L" <a@x.org>', [('Ada "the" L', "a@x.org")]),
        ("a@straße.de", [("", "a@xn--strae-oqa.de")]),
        ("ö+tag@bücher.example", [("", "ö+tag@xn--bcher-kva.example")]),
        ("Penstock <penstock@localhost>", [("Penstock", "penstock@localhost")]),
    ],
)
def test_addresses_are_read_as_people_write_them(text: str, addresses: list[tuple[str, str]]) -> None:
    assert [(address.name, address.email) for address in parse_addresses(text)] == addresses


@pytest.mark.parametrize(
    "text",
    [
        "ada", "@x.org", "ada@", "ada@@x.org", "a b@x.org", "a..b@x.org", ".a@x.org", "ada@x..org", "ada@-x.org",
        "ada@x.org>", "<>",
        "ada@x.org\nBcc: eve@x.org", "ada@x.org\r\nRCPT TO:<eve@x.org>", "Ada <ada@x.org\n>x",
        "ada@x.org <eve@x.org>", "a\u202eb@x.org", "a\x00@x.org",
        "ada@[127.0.0.1]", '"a b"@x.org', f"{'a' * 65}@x.org", f"a@{'b.' * 130}org",
    ],
)  # fmt: skip
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a mail address, such as ada@example\.com"):
        parse_addresses(text)


def test_a_name_with_a_comma_needs_quotes() -> None:
    with pytest.raises(
        ValueError, match=r"'Müller' is not a mail address, .*; put a name that contains a comma in quotes"
    ):
        parse_addresses("Müller, Hans <h@x.org>")
    with pytest.raises(ValueError, match="expected one mail address, got 2"):
        parse_address("a@x.org, b@x.org")


def test_a_name_is_one_line() -> None:
    assert make_address("Ada\r\nBcc: eve@x.org\x00", "ada@x.org").name == "Ada Bcc: eve@x.org"


@given(some.text(), some.text())
def test_no_text_ends_a_header(name: str, subject: str) -> None:
    to = (make_address(name, "ada@x.org"),)
    raw = write_mail(replace(MAIL, to=to, subject=subject, headers=(("X-Mine", subject),)), NOW)
    assert read(raw).keys() == [
        "From", "To", "Subject", "Date", "Message-ID", "X-Mine", "Content-Type", "Content-Transfer-Encoding",
        "MIME-Version",
    ]  # fmt: skip
    assert all(len(line) < 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "subject", ["Hello", "Grüße aus Köln " * 20, "x" * 2000, "=?utf-8?q?not?= encoded", "发票 42", "a  b"]
)
def test_a_subject_arrives_as_it_was(subject: str) -> None:
    assert read(write_mail(replace(MAIL, subject=subject), NOW))["Subject"] == subject.strip()


@pytest.mark.parametrize(
    "name", ["Ada", "Ada Lovelace", 'Ada "the" L\\', "Müller, Hans", "=?x?=", "刘", "a" * 200, "a@b.c"]
)
def test_a_name_arrives_as_it_was(name: str) -> None:
    raw = write_mail(replace(MAIL, to=(make_address(name, "ada@x.org"), ADA)), NOW)
    assert [(to.display_name, to.addr_spec) for to in read(raw)["To"].addresses] == [
        (name, "ada@x.org"),
        ("Ada", "ada@example.com"),
    ]


@given(some.text(), some.binary(), some.text(min_size=1))
def test_bodies_and_files_arrive_as_they_were(text: str, content: bytes, name: str) -> None:
    raw = write_mail(replace(MAIL, text=text, attachments=(Attachment(name, "application/pdf", content),)), NOW)
    mail = read(raw)
    (file,) = mail.iter_attachments()
    body = mail.get_body(("plain",))
    assert body is not None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    assert body.get_content().replace("\r\n", "\n").removesuffix("\n") == lines
    assert (file.get_content(), file.get_content_type()) == (content, "application/pdf")
    assert raw.isascii()
    assert all(len(line) < 998 for line in raw.split(b"\r\n"))


def test_a_sender_that_is_no_address_is_named() -> None:
    with pytest.raises(ValueError, match="'shop' is not a mail address"):
        MailSettings.model_validate(
            {"database_url": "postgresql://unused", "amqp_url": "amqp://unused", "email_from": "shop"}
        )


def test_text_and_html_are_alternatives_and_files_are_attached() -> None:
    files = (
        Attachment("Märkte.csv", "text/csv; charset=utf-8", "a,ä".encode()),
        Attachment("a\r\nX: 1", "nonsense", b"\x00\xff"),
    )
    mail = read(write_mail(replace(MAIL, text="plain ä\n.\n", html="<p>ä</p>", attachments=files), NOW))
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert (plain is not None and plain.get_content(), html is not None and html.get_content()) == (
        "plain ä\r\n.\r\n", "<p>ä</p>\r\n",
    )  # fmt: skip
    assert mail.get_content_type() == "multipart/mixed"
    first, second = mail.iter_attachments()
    assert (first.get_filename(), first.get_content_type(), first.get_content()) == ("Märkte.csv", "text/csv", "a,ä")
    assert (second.get_filename(), second.get_content_type(), second.get_content()) == (
        "a  X: 1", "application/octet-stream", b"\x00\xff",
    )  # fmt: skip


def test_blind_copies_are_not_told_and_everybody_gets_one() -> None:
    eve, bob = make_address("", "eve@x.org"), make_address("Bob", "bob@x.org")
    mail = replace(MAIL, cc=(bob,), bcc=(eve, make_address("", "ADA@example.com")), reply_to=(bob,))
    assert [address.email for address in mail.recipients] == ["ada@example.com", "bob@x.org", "eve@x.org"]
    raw = write_mail(mail, NOW)
    assert b"eve" not in raw
    assert (read(raw)["Cc"], read(raw)["Reply-To"]) == ("Bob <bob@x.org>", "Bob <bob@x.org>")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("text/csv", ("text", "csv", "")),
        ('Text/CSV; charset="utf-8"', ("text", "csv", "utf-8")),
        ("message/rfc822", ("application", "octet-stream", "")),
        ("text/x\r\nX: 1", ("application", "octet-stream", "")),
        ("", ("application", "octet-stream", "")),
    ],
)
def test_a_content_type_is_taken_apart(given: str, sent: tuple[str, str, str]) -> None:
    assert split_content_type(given) == sent


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail", MailServer("mail", 25, None, None, False, False)),
        ("smtp://u:p%40ss@mail:2525?starttls=1", MailServer("mail", 2525, "u", "p@ss", False, True)),
        ("smtp://mail?starttls=1", MailServer("mail", 587, None, None, False, True)),
        ("smtps://u:p@mail", MailServer("mail", 465, "u", "p", True, False)),
    ],
)
def test_mail_server_is_read_from_its_url(url: str, server: MailServer) -> None:
    assert parse_smtp_url(url) == server


@pytest.mark.parametrize("url", ["mail:25", "http://mail", "smtp://"])
def test_url_that_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="smtp://user:password@host:port"):
        parse_smtp_url(url)
