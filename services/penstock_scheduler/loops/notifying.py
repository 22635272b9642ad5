"""People are notified of what happened: by mail, by signed webhook (https://github.com/standard-webhooks/standard-webhooks)
and by Slack-compatible webhook.

*Gathering.* A scheduler takes the notices that wait, under the lock of their kind. The first is sent; those that follow
within the kind's period are counted, and said in the next notification.

*Sending.* Each way is a loop of its own, and each delivery of it a task, so that one that hangs keeps no other
waiting. A delivery is taken, in a transaction of its own, before it is sent: from then on nobody sends it again, unless
the other side certainly does not have it. If this process dies, or the connection breaks while a mail server has the
message, it stays unsent. A webhook is tried again when it was not answered with 2xx; its receiver knows a copy by its
`webhook-id`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from email.utils import make_msgid
from functools import partial
from typing import Final, NamedTuple

from multidict import CIMultiDict
from pydantic import JsonValue
from yarl import URL

from penstock import clock, exact_json
from penstock.db import Connection
from penstock.domain.letters import Letter, write_letter
from penstock.domain.mail_addresses import Address, parse_address
from penstock.domain.notices import Channel, kind_of, read_period
from penstock.errors import Permanent, Transient
from penstock.expressions import compile_template
from penstock.logs import get_logger
from penstock.mail.message import Mail
from penstock.mail.smtp import Taken
from penstock.outgoing.exchange import Request
from penstock.outgoing.signing import read_key, signed_headers
from penstock.runtime import Counts
from penstock.store.logs import LogEvent, LogLine, write_logs
from penstock_scheduler import rules
from penstock_scheduler.repository import notifications as repository
from penstock_scheduler.room import Room
from penstock_scheduler.runs import Delivery

log = get_logger(__name__)

MAX_ATTEMPTS: Final = 12
MAX_TAKEN: Final = 10_000
_AT_ONCE: Final = 20
_MAIL_SECONDS: Final = 60.0
_CALL_SECONDS: Final = 20.0
_MAX_SLACK: Final = 3000
"""Characters in a block of Slack's, https://api.slack.com/reference/surfaces/formatting."""
_LIFETIME: Final = timedelta(days=30)
_MAX_DELETED: Final = 10_000


class Failure(NamedTuple):
    """Why a delivery was not made."""

    reason: str
    may_retry: bool


async def gather_notices(room: Room) -> Counts:
    """Take the notices that wait: have one of each kind sent, and count the others."""
    async with room.database.connection() as conn:
        waiting = await repository.list_waiting(conn)
    requested = held_back = 0
    for environment, kind in waiting:
        sends, holds = await room.database.in_transaction(partial(_gather, environment=environment, kind=kind))
        requested, held_back = requested + sends, held_back + holds
    return Counts({"requested": requested, "held_back": held_back})


async def _gather(conn: Connection, *, environment: str, kind: str) -> tuple[int, int]:
    """How many deliveries were asked for, and how many notices held back."""
    throttle = await repository.lock_throttle(conn, environment=environment, kind=kind)
    if throttle is None:
        return 0, 0
    taken = await repository.take_notices(conn, environment=environment, kind=kind, most=MAX_TAKEN)
    if taken is None:
        return 0, 0
    targets = await repository.get_targets(conn, environment=environment)
    period = read_period(targets.every, kind_of(kind))
    if period is None:
        return 0, 0
    if throttle.rested is not None and throttle.rested < period:
        held_back = throttle.held_back + taken.times
        await repository.note_throttle(conn, environment=environment, kind=kind, held_back=held_back, is_sent=False)
        return 0, taken.times
    ways = _list_ways(targets)
    if not ways:
        log.warning(
            "notification.failed", environment=environment, kind=kind, reason="no way to notify anybody is set there"
        )
    content: dict[str, JsonValue] = {
        **taken.details,
        "count": taken.times,
        "held_back": throttle.held_back,
        "every": targets.every.get(kind_of(kind).value, "1d"),
    }
    await repository.add_deliveries(conn, environment=environment, kind=kind, content=content, targets=ways)
    await repository.note_throttle(conn, environment=environment, kind=kind, held_back=0, is_sent=True)
    return len(ways), 0


def _list_ways(targets: repository.Targets) -> list[tuple[Channel, dict[str, JsonValue]]]:
    ways: list[tuple[Channel, dict[str, JsonValue]]] = []
    if targets.addresses:
        ways.append((Channel.EMAIL, {"addresses": list(targets.addresses)}))
    ways += [(Channel.WEBHOOK, webhook) for webhook in targets.webhooks]
    ways += [(Channel.SLACK, {"url": url}) for url in targets.slack]
    return ways


async def send_notifications(room: Room, channel: Channel) -> Counts:
    """Send what is to be sent now by one way."""
    sent = 0
    while not room.stop.soft.is_set():
        async with room.database.connection() as conn:
            deliveries = await repository.take_deliveries(conn, channel=channel, most=_AT_ONCE)
        if not deliveries:
            break
        sent += sum(await asyncio.gather(*(_deliver(room, delivery) for delivery in deliveries)))
    return Counts({"sent": sent})


async def delete_old_notifications(room: Room) -> Counts:
    """Forget what was sent, or given up, long ago."""
    async with room.database.connection() as conn:
        deleted = await repository.delete_old_deliveries(conn, older_than=_LIFETIME, most=_MAX_DELETED)
    return Counts({"deliveries": deleted})


async def _deliver(room: Room, delivery: Delivery) -> bool:
    letter = write_letter(delivery.kind, delivery.environment, delivery.content, room.console_url)
    try:
        failure = await _SENDERS[delivery.channel](room, delivery, letter)
    except (Permanent, Transient) as error:
        failure = Failure(str(error), may_retry=isinstance(error, Transient))
    except ValueError as error:
        failure = Failure(str(error), may_retry=False)
    about = {"environment": delivery.environment, "kind": delivery.kind, "channel": delivery.channel.value}
    if failure is None:
        async with room.database.connection() as conn:
            await repository.mark_sent(conn, id=delivery.id)
        log.info("notification.sent", **about)
        return True
    # A URL that stands in a secret may be in what a client says of it.
    reason = room.secrets.redactor(delivery.environment).text(failure.reason)
    is_retried = failure.may_retry and delivery.attempts < MAX_ATTEMPTS
    wait = rules.mail_backoff(delivery.attempts)
    async with room.database.connection() as conn:
        if is_retried:
            await repository.give_back(conn, id=delivery.id, after=wait)
        log.warning("notification.failed", reason=reason, is_retried=is_retried, **about)
        await write_logs(conn, [_line(delivery, letter, reason, wait if is_retried else None)])
    return False


def _line(delivery: Delivery, letter: Letter, reason: str, wait: timedelta | None) -> LogLine:
    outlook = "it is not tried again" if wait is None else f"it is tried again in {wait.total_seconds():.0f} s"
    is_mail = delivery.channel is Channel.EMAIL
    return LogLine(
        at=clock.now(),
        environment=delivery.environment,
        level="error" if wait is None else "warning",
        event=LogEvent.MAIL_FAILED if is_mail else LogEvent.NOTIFICATION_FAILED,
        message=f"{delivery.channel} to the admins, {letter.subject}: {reason}; {outlook}",
        details={"attempt": delivery.attempts, "channel": delivery.channel.value},
    )


async def _send_mail(room: Room, delivery: Delivery, letter: Letter) -> Failure | None:
    if room.mail is None:
        return Failure("PENSTOCK_SMTP_URL is not set; nobody was notified by mail", may_retry=False)
    addresses = _read_addresses(delivery)
    if not addresses:
        return Failure("none of the notification addresses is an address", may_retry=False)
    outcome = await room.mail.send(compose(letter, room.mail_sender, addresses), _MAIL_SECONDS)
    if not isinstance(outcome, Taken):
        return Failure(outcome.reason, may_retry=outcome.is_certain)
    for address, reason in outcome.refused.items():
        log.warning("notification.failed", address=address, reason=reason)
    return None


def _read_addresses(delivery: Delivery) -> tuple[Address, ...]:
    """Whom to notify. A text that is not an address keeps nobody else from it."""
    read: list[Address] = []
    given = delivery.target.get("addresses")
    for text in given if isinstance(given, list) else []:
        try:
            read.append(parse_address(str(text)))
        except ValueError as error:
            log.warning("notification.failed", environment=delivery.environment, address=str(text), reason=str(error))
    return tuple(read)


def compose(letter: Letter, sender: Address, addresses: tuple[Address, ...]) -> Mail:
    """The mail: what happened, where, how often, and what to do."""
    return Mail(
        sender=sender,
        to=addresses,
        subject=f"[Penstock] {letter.subject}",
        message_id=make_msgid(domain="penstock.invalid"),
        headers=(("Auto-Submitted", "auto-generated"),),
        text=letter.text,
    )


async def _send_webhook(room: Room, delivery: Delivery, letter: Letter) -> Failure | None:
    url, secret = await _read_target(room, delivery, "url"), await _read_target(room, delivery, "secret")
    document: dict[str, JsonValue] = {
        "type": f"penstock.{kind_of(delivery.kind)}",
        "timestamp": delivery.created_at.isoformat(),
        "data": {
            **delivery.content,
            "environment": delivery.environment,
            "topic": delivery.kind,
            "subject": letter.subject,
            "command": letter.command,
            "url": letter.url,
        },
    }
    body, moment = exact_json.dumps(document), int(clock.now().timestamp())
    try:
        headers = signed_headers([read_key(secret)], f"notice_{delivery.id}", moment, body)
    except ValueError as error:
        return Failure(f"the secret of the webhook {error}", may_retry=False)
    return await _post(room, url, CIMultiDict(headers), body)


async def _send_slack(room: Room, delivery: Delivery, letter: Letter) -> Failure | None:
    url = await _read_target(room, delivery, "url")
    text = f"[Penstock] {letter.subject}\n{letter.message}\n{letter.url or letter.command}"[:_MAX_SLACK]
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, entity)
    return await _post(room, url, CIMultiDict({"Content-Type": "application/json"}), exact_json.dumps({"text": text}))


async def _post(room: Room, url: str, headers: CIMultiDict[str], body: bytes) -> Failure | None:
    response = await room.outgoing.send(Request("POST", URL(url), headers, body, max_redirects=0), _CALL_SECONDS)
    if 200 <= response.status < 300:
        return None
    # 410 says that the receiver wants no more; a redirect would take a signed message to somebody else.
    return Failure(f"{URL(url).host} answered with status {response.status}", may_retry=400 <= response.status != 410)


async def _read_target(room: Room, delivery: Delivery, name: str) -> str:
    """A part of the target, with the secret that it names in its place. Raises Permanent when that is not set."""
    text = str(delivery.target.get(name, ""))
    if "${" not in text:
        return text
    await room.secrets.refresh()
    template = compile_template(text, "notifications")
    values = room.secrets.require(delivery.environment, template.secrets)
    return str(template.evaluate({"secrets": values})).strip()


_SENDERS: Final[dict[Channel, Callable[[Room, Delivery, Letter], Awaitable[Failure | None]]]] = {
    Channel.EMAIL: _send_mail,
    Channel.WEBHOOK: _send_webhook,
    Channel.SLACK: _send_slack,
}
