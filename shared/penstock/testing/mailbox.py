"""A mail server for tests, in this process: it keeps what it is sent, refuses the recipients that a test names, and can
be down.

It speaks as much SMTP (RFC 5321) as `email` steps do: no encryption, no passwords, nothing that lasts.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Final

_MAX_MAIL: Final = 2**25


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that was taken: for whom, blind copies included, and the message. `text` is its plain part, with plain
    line ends.
    """

    recipients: tuple[str, ...]
    message: EmailMessage

    @property
    def subject(self) -> str:
        """The subject, decoded."""
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        """The plain text; empty when there is none."""
        part = self.message.get_body(("plain",))
        return "" if part is None else str(part.get_content()).replace("\r\n", "\n")


@dataclass(slots=True)
class Mailbox:
    """`mails` are those taken, in order. `refusals` are answers to recipients, such as `{"ada@example.com": "550
    unknown"}`.

    While it `is_down`, it hangs up on every client; `tries` counts all who did. `url` is what `smtp_url` has to be.
    """

    url: str = ""
    mails: list[Mail] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    is_down: bool = False
    tries: int = 0

    @property
    def recipients(self) -> list[str]:
        """All who got a mail, in order, as often as they got one."""
        return [address for mail in self.mails for address in mail.recipients]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk with one client."""
        self.tries += 1
        try:
            if not self.is_down:
                with suppress(ConnectionError, asyncio.IncompleteReadError):
                    await self._converse(reader, writer)
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        answer = "220 mailbox"
        while True:
            writer.write(f"{answer}\r\n".encode())
            await writer.drain()
            if answer.startswith("221"):
                return
            line = (await reader.readuntil(b"\r\n")).decode().rstrip()
            command, _, rest = line.upper().partition(" ")
            match command:
                case "MAIL" | "RSET":
                    recipients, answer = [], "250 ok"
                case "RCPT":
                    address = line.partition("<")[2].partition(">")[0]
                    answer = self.refusals.get(address, "250 ok")
                    recipients += [address] if answer.startswith("250") else []
                case "DATA":
                    answer = await self._take(reader, writer, recipients)
                case "QUIT":
                    answer = "221 bye"
                case "EHLO":
                    answer = "250-mailbox\r\n250 SMTPUTF8"
                case _:
                    answer = f"502 {rest or 'that'} is not understood"

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recipients: list[str]) -> str:
        writer.write(b"354 continue\r\n")
        content = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
        self.mails.append(Mail(tuple(recipients), message_from_bytes(content, EmailMessage, policy=default)))
        return "250 taken"


@asynccontextmanager
async def open_mailbox() -> AsyncIterator[Mailbox]:
    """A mail server on a free port of this machine while the block runs: `open_app(…, settings={"smtp_url":
    mailbox.url})`.
    """
    mailbox = Mailbox()
    server = await asyncio.start_server(mailbox.serve, "127.0.0.1", 0, limit=_MAX_MAIL)
    try:
        mailbox.url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield mailbox
    finally:
        server.close()  # not waited for: from Python 3.12 on, that waits for those who keep a connection
