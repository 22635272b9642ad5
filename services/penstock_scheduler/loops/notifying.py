"""The admins are told by mail of a run that was terminated, at most once a day and environment.

A scheduler takes the notification, in a transaction of its own, before it sends: from then on nobody sends it again, unless the mail
server certainly did not take it. If this process dies, or the connection breaks while the server has the message, it stays unsent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from typing import Final

import aiosmtplib
from pydantic import JsonValue

from penstock import clock
from penstock.logs import get_logger
from penstock.store.logs import LogEvent, LogLine, write_logs
from penstock_scheduler import rules
from penstock_scheduler.handlers.room import Room
from penstock_scheduler.repository import notifications as repository
from penstock_scheduler.runs import Counts, Notification
from penstock_scheduler.settings import MailServer

log = get_logger(__name__)

MOST_ATTEMPTS: Final = 12
_TIMEOUT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class NotSent:
    """The mail server has not taken the message, or at least not said so. `is_certain`: it has not, so it may be sent again."""

    reason: str
    is_certain: bool


async def notify(room: Room) -> Counts:
    """Send what is to be sent now, one after another."""
    sent = 0
    while not room.stop.soft.is_set():
        async with room.database.connection() as conn:
            notification = await repository.take_notification(conn)
        if notification is None:
            break
        sent += await _tell(room, notification)
    return Counts({"sent": sent})


async def _tell(room: Room, notification: Notification) -> bool:
    about = {"environment": notification.environment, "day": notification.day}
    if room.mail_server is None or not notification.addresses:
        missing = "PENSTOCK_SMTP_URL is not set" if room.mail_server is None else "the environment has no notification addresses"
        log.warning("notification.failed", reason=f"{missing}; nobody was told by mail", **about)
        return False
    failure = await send_mail(room.mail_server, compose(notification, room.email_from), notification.addresses)
    async with room.database.connection() as conn:
        if failure is None:
            await repository.mark_sent(conn, notification=notification)
            log.info("notification.sent", addresses=len(notification.addresses), **about)
            return True
        is_retried = failure.is_certain and notification.attempts < MOST_ATTEMPTS
        wait = rules.mail_backoff(notification.attempts)
        if is_retried:
            await repository.give_back(conn, notification=notification, after=wait)
        log.warning("notification.failed", reason=failure.reason, is_retried=is_retried, **about)
        await write_logs(conn, [_line(notification, failure, wait if is_retried else None)])
    return False


def _line(notification: Notification, failure: NotSent, wait: timedelta | None) -> LogLine:
    outlook = "it is not tried again" if wait is None else f"it is tried again in {wait.total_seconds():.0f} s"
    return LogLine(
        at=clock.now(),
        environment=notification.environment,
        level="error" if wait is None else "warning",
        event=LogEvent.MAIL_FAILED,
        message=f"mail to the admins about {notification.workflow or 'a run'}: {failure.reason}; {outlook}",
        workflow=notification.workflow,
        details={"attempt": notification.attempts},
    )


def compose(notification: Notification, sender: str) -> EmailMessage:
    """The mail: what was terminated, where, how it came about, and what to do."""
    details = notification.details
    mail = EmailMessage()
    mail["Subject"] = f"[Penstock] {_one_line(notification.workflow or 'a run')} was terminated in {notification.environment}"
    mail["From"] = sender
    mail["To"] = ", ".join(notification.addresses)
    mail["Date"] = formatdate(usegmt=True)
    mail["Message-ID"] = make_msgid(domain="penstock.invalid")
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(
        rules.mail_text(
            message=str(details.get("message", "")),
            run_id=str(details.get("run_id", "")),
            chain_id=str(details.get("chain_id", "")),
            path=_path(details),
            depth=notification.depth,
            limit=notification.depth_limit,
            environment=notification.environment,
        )
    )
    return mail


def _path(details: Mapping[str, JsonValue]) -> list[str]:
    path = details.get("path")
    return [str(name) for name in path] if isinstance(path, list) else []


def _one_line(text: str) -> str:
    return " ".join(text.split())[:100]


async def send_mail(server: MailServer, mail: EmailMessage, addresses: tuple[str, ...]) -> NotSent | None:
    """Hand `mail` in; None when the server has taken it for at least one address."""
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.username,
        password=server.password,
        use_tls=server.is_tls,
        start_tls=server.is_starttls,
        timeout=_TIMEOUT_SECONDS,
    )
    is_certain = True
    try:
        await client.connect()
        refused = await _name_recipients(client, parseaddr(str(mail["From"]))[1], addresses)
        # From here on the server may have the whole message, even if we never hear of it; only a refusal is certain.
        is_certain = False
        await client.data(bytes(mail))
    except aiosmtplib.SMTPResponseException as error:
        return NotSent(f"{server.host} answered {error.code} {error.message}", is_certain=True)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return NotSent(f"{server.host}:{server.port}: {type(error).__name__}: {error}", is_certain=is_certain)
    finally:
        client.close()
    for address, reason in refused.items():
        log.warning("notification.failed", address=address, reason=reason)
    return None


async def _name_recipients(client: aiosmtplib.SMTP, sender: str, addresses: tuple[str, ...]) -> dict[str, str]:
    """Tell the server who it is from and for; returns who was refused, and why. Raises when all were."""
    await client.ehlo()
    await client.mail(sender)
    refused: dict[str, str] = {}
    last: aiosmtplib.SMTPRecipientRefused | None = None
    for address in addresses:
        try:
            await client.rcpt(address)
        except aiosmtplib.SMTPRecipientRefused as error:
            last = error
            refused[address] = f"{error.code} {error.message}"
    if last is not None and len(refused) == len(addresses):
        raise last
    return refused
