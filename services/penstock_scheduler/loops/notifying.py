"""The admins are notified by mail of a run that was terminated, at most once a day and environment, and of workload
(`workload` says when).

A scheduler takes the notification, in a transaction of its own, before it sends: from then on nobody sends it again,
unless the mail server certainly did not take it. If this process dies, or the connection breaks while the server has
the message, it stays unsent.
"""

from collections.abc import Mapping
from datetime import timedelta
from email.utils import make_msgid
from typing import Final

from pydantic import JsonValue

from penstock import clock
from penstock.domain.addresses import Address, parse_address
from penstock.logs import get_logger
from penstock.mail.message import Mail
from penstock.mail.smtp import NotTaken, Taken
from penstock.runs.recurrences.history import RECURRENCE_PAUSED
from penstock.runs.terminations import OBSERVED
from penstock.runtime import Counts
from penstock.store.logs import LogEvent, LogLine, write_logs
from penstock_scheduler import rules
from penstock_scheduler.repository import notifications as repository
from penstock_scheduler.room import Room
from penstock_scheduler.runs import Notification

log = get_logger(__name__)

MAX_ATTEMPTS: Final = 12
_TIMEOUT_SECONDS: Final = 60.0
_SUBJECTS: Final = {
    "allowance_75": "has used 75 % of the month's workload",
    "allowance_100": "has used up the month's workload",
    "spike": "consumes far more workload than usual",
    RECURRENCE_PAUSED: "has paused a recurrence that failed again and again",
}
"""What a mail is about, by the kind of notification; all others are about a run that was terminated."""


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
    addresses = _read_addresses(notification)
    if room.mail is None or not addresses:
        missing = (
            "PENSTOCK_SMTP_URL is not set" if room.mail is None else "the environment has no notification addresses"
        )
        log.warning("notification.failed", reason=f"{missing}; nobody was notified", **about)
        return False
    outcome = await room.mail.send(compose(notification, room.mail_sender, addresses), _TIMEOUT_SECONDS)
    if isinstance(outcome, Taken):
        await _note_sent(room, notification, outcome)
        return True
    async with room.database.connection() as conn:
        is_retried = outcome.is_certain and notification.attempts < MAX_ATTEMPTS
        wait = rules.mail_backoff(notification.attempts)
        if is_retried:
            await repository.give_back(conn, notification=notification, after=wait)
        log.warning("notification.failed", reason=outcome.reason, is_retried=is_retried, **about)
        await write_logs(conn, [_line(notification, outcome, wait if is_retried else None)])
    return False


async def _note_sent(room: Room, notification: Notification, outcome: Taken) -> None:
    async with room.database.connection() as conn:
        await repository.mark_sent(conn, notification=notification)
    log.info(
        "notification.sent",
        environment=notification.environment,
        day=notification.day,
        addresses=len(notification.addresses),
    )
    for address, reason in outcome.refused.items():
        log.warning("notification.failed", address=address, reason=reason)


def _read_addresses(notification: Notification) -> tuple[Address, ...]:
    """Whom to tell. An address that is none keeps nobody else from being told."""
    read: list[Address] = []
    for text in notification.addresses:
        try:
            read.append(parse_address(text))
        except ValueError as error:
            log.warning("notification.failed", environment=notification.environment, address=text, reason=str(error))
    return tuple(read)


def _line(notification: Notification, failure: NotTaken, wait: timedelta | None) -> LogLine:
    outlook = "it is not tried again" if wait is None else f"it is tried again in {wait.total_seconds():.0f} s"
    return LogLine(
        at=clock.now(),
        environment=notification.environment,
        level="error" if wait is None else "warning",
        event=LogEvent.MAIL_FAILED,
        message=f"mail to the admins, {_subject(notification)}: {failure.reason}; {outlook}",
        workflow=notification.workflow,
        details={"attempt": notification.attempts},
    )


def compose(notification: Notification, sender: Address, addresses: tuple[Address, ...]) -> Mail:
    """The mail: what was terminated or consumed, where, how it came about, and what to do."""
    return Mail(
        sender=sender,
        to=addresses,
        subject=f"[Penstock] {_subject(notification)}",
        message_id=make_msgid(domain="penstock.invalid"),
        headers=(("Auto-Submitted", "auto-generated"),),
        text=_text(notification),
    )


def _subject(notification: Notification) -> str:
    subject = _SUBJECTS.get(notification.kind)
    if subject is not None:
        return f"{notification.environment} {subject}"
    what = "would have been terminated" if notification.kind == OBSERVED else "was terminated"
    return f"{_one_line(notification.workflow or 'a run')} {what} in {notification.environment}"


def _text(notification: Notification) -> str:
    details = notification.details
    message = str(details.get("message", ""))
    if notification.kind == RECURRENCE_PAUSED:
        return f"{message}.\n"
    if notification.kind in _SUBJECTS:
        return rules.workload_mail_text(message=message, environment=notification.environment)
    run = rules.CutRun(
        run_id=str(details.get("run_id", "")),
        chain_id=str(details.get("chain_id", "")),
        path=_path(details),
        depth=notification.depth,
        limit=notification.depth_limit,
    )
    return rules.mail_text(message=message, run=run, environment=notification.environment)


def _path(details: Mapping[str, JsonValue]) -> list[str]:
    path = details.get("path")
    return [str(name) for name in path] if isinstance(path, list) else []


def _one_line(text: str) -> str:
    return " ".join(text.split())[:100]
