"""Hands mail to an SMTP server, and tells what became of it.

A recipient whom the server refuses does not keep the others from getting the mail. One who is refused only for now
(4xx, as when a server takes no more recipients at once) is named again as soon as the others have theirs, as long as
each time somebody is accepted. Whoever has got the mail is never sent it again by us: once somebody has, what goes
wrong afterwards is reported, not raised.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import aiosmtplib

from penstock import clock
from penstock.domain.mail_addresses import Address
from penstock.mail.connections import Connections, Line
from penstock.mail.message import Mail, write_mail
from penstock.mail.settings import MailServer

_NO_SMTPUTF8: Final = "takes no addresses with other letters than A to Z (SMTPUTF8)"


class Taken(NamedTuple):
    """The server has the mail. `refused` says, by address, what it said about those for whom it has not."""

    refused: Mapping[str, str] = {}


class NotTaken(NamedTuple):
    """The server has the mail for nobody, or has not said so. `kind` is `email`, `connection` or `timeout`.

    `is_temporary`: it may take it later. `is_certain`: nobody has got it; otherwise the answer to the whole message was
    lost.
    """

    reason: str
    kind: str
    is_temporary: bool
    is_certain: bool = True


@dataclass(slots=True)
class _Progress:
    """How far the handing in of one mail has got."""

    pending: tuple[Address, ...]
    refused: dict[str, str] = field(default_factory=dict)
    has_delivered: bool = False
    is_certain: bool = True

    def end(self, failure: NotTaken) -> Taken | NotTaken:
        """What `failure` means now: only if nobody has the mail yet, it is one."""
        if not self.has_delivered:
            return failure
        return Taken({**{address.email: failure.reason for address in self.pending}, **self.refused})


class MailClient:
    """Hands mail in to one server, over connections that are kept for the next mails: at most `most_idle` of them."""

    def __init__(self, server: MailServer, *, most_idle: int = 0) -> None:
        self._server = server
        self._connections = Connections(server, most_idle=most_idle)

    async def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()

    async def send(self, mail: Mail, timeout_seconds: float) -> Taken | NotTaken:
        """Hand `mail` in, within so much time."""
        progress = _Progress(mail.recipients)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._hand_in(mail, progress)
        except TimeoutError:
            reason = f"{self._name}: the mail was not taken within {timeout_seconds:g} s"
            return progress.end(NotTaken(reason, "timeout", is_temporary=True, is_certain=progress.is_certain))

    @property
    def _name(self) -> str:
        return f"the mail server {self._server.host}:{self._server.port}"

    async def _hand_in(self, mail: Mail, progress: _Progress) -> Taken | NotTaken:
        line: Line | None = None
        try:
            line = await self._connections.take()
            outcome = await self._converse(line.client, mail, progress)
            if isinstance(outcome, Taken):
                given_back, line = line, None
                await self._connections.give_back(given_back)
            return outcome
        except aiosmtplib.SMTPResponseException as error:
            reason = f"{self._name} answered {_words(error)}"
            return progress.end(NotTaken(reason, "email", is_temporary=_is_temporary(error)))
        except aiosmtplib.SMTPNotSupported as error:
            return progress.end(NotTaken(f"{self._name}: {error}", "email", is_temporary=False))
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            kind = "timeout" if isinstance(error, TimeoutError) else "connection"
            reason = f"{self._name}: {_describe(error)}"
            return progress.end(NotTaken(reason, kind, is_temporary=True, is_certain=progress.is_certain))
        finally:
            if line is not None:
                line.client.close()

    async def _converse(self, client: aiosmtplib.SMTP, mail: Mail, progress: _Progress) -> Taken | NotTaken:
        if mail.is_international and not client.supports_extension("smtputf8"):
            mail = self._refuse_international(mail, progress)
            if not mail.recipients or mail.is_international:
                return NotTaken(f"{self._name} {_NO_SMTPUTF8}", "email", is_temporary=False)
        # Megabytes take most of a second to encode, in which this process would do nothing else.
        content = (
            await asyncio.to_thread(write_mail, mail, clock.now())
            if mail.attachments
            else write_mail(mail, clock.now())
        )
        if (limit := _size_limit(client)) and len(content) > limit:
            sizes = f"the mail has {len(content)} bytes, and {self._name} takes at most {limit}"
            return NotTaken(sizes, "email", is_temporary=False)
        while progress.pending:
            if failure := await self._send_to_pending(client, mail, content, progress):
                return progress.end(failure)
        return Taken(progress.refused)

    def _refuse_international(self, mail: Mail, progress: _Progress) -> Mail:
        """The mail without those whose addresses need SMTPUTF8."""
        left_out = [address for address in progress.pending if not address.is_ascii]
        progress.pending = tuple(address for address in progress.pending if address.is_ascii)
        progress.refused.update({address.email: f"{self._name} {_NO_SMTPUTF8}" for address in left_out})
        return mail.leave_out(left_out)

    async def _send_to_pending(
        self, client: aiosmtplib.SMTP, mail: Mail, content: bytes, progress: _Progress
    ) -> NotTaken | None:
        """One transaction; afterwards those are pending who were refused for now."""
        options, encoding = (["SMTPUTF8", "BODY=8BITMIME"], "utf-8") if mail.is_international else ([], "ascii")
        await client.mail(mail.sender.email, options=options, encoding=encoding)
        deferred: dict[Address, str] = {}
        accepted = 0
        for address in progress.pending:
            try:
                await client.rcpt(address.email, encoding=encoding)
                accepted += 1
            except aiosmtplib.SMTPRecipientRefused as error:
                if _is_temporary(error):
                    deferred[address] = _words(error)
                else:
                    progress.refused[address.email] = _words(error)
        if not accepted:
            return self._refusal(deferred, progress)
        # From here on the server may have the whole message, even if we never hear of it; only an answer is certain.
        progress.is_certain = False
        await client.data(
            content, timeout=None
        )  # a server may take minutes to look at it; `send` has a limit for everything
        progress.is_certain, progress.has_delivered, progress.pending = True, True, tuple(deferred)
        return None

    def _refusal(self, deferred: Mapping[Address, str], progress: _Progress) -> NotTaken:
        """Nobody was accepted. While some may be later, all are tried again; those refused for good will be refused
        again.
        """
        said = {**progress.refused, **{address.email: words for address, words in deferred.items()}}
        reason = f"{self._name} refused " + "; ".join(f"{email}: {words}" for email, words in said.items())
        return NotTaken(reason, "email", is_temporary=bool(deferred))


def _is_temporary(error: aiosmtplib.SMTPResponseException) -> bool:
    return 400 <= error.code < 500


def _words(error: aiosmtplib.SMTPResponseException) -> str:
    return f"{error.code} {' '.join(error.message.split())}"


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiosmtplib.SMTPServerDisconnected):
        return "the connection was closed"
    return " ".join(str(error).split()) or type(error).__name__


def _size_limit(client: aiosmtplib.SMTP) -> int:
    """The largest message that the server takes (RFC 1870), in bytes; 0 when it does not say."""
    value = client.esmtp_extensions.get("size", "")
    return int(value) if value.isdecimal() else 0
