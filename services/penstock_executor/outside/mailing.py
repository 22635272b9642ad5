"""Hands a mail in, by the transport that the app names. Every attempt has the same Message-ID, so that copies can be
recognised.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from penstock.definitions.email import EmailSettings, EmailTransport
from penstock.domain.mail_addresses import Address, parse_address
from penstock.domain.mail_headers import is_header_name, is_ours
from penstock.errors import Permanent, Transient
from penstock.expressions.templates import write_value
from penstock.mail.message import Mail, clean_line
from penstock.mail.smtp import NotTaken
from penstock.store.logs import LogEvent
from penstock_executor.outside.attachments import read_attachments
from penstock_executor.outside.mail_services import send_by_postmark, send_by_sendgrid
from penstock_executor.outside.recipients import read_recipients
from penstock_executor.steps.arguments import mapping, text, wrong
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call

DEFAULT_TIMEOUT_SECONDS: Final = 90.0
_SHARE_TO_WAIT: Final = 1 / 3
_SHARE_TO_SEND: Final = 0.6
"""Of the step's time. What is left over keeps the step from being cut off before it knows who has got the mail."""
_MAX_TEXT: Final = 2 * 1024 * 1024


async def send_mail(call: Call) -> Outcome:
    """The message's id: over SMTP the Message-ID of the mail, else the id that the service uses in its events.

    Raises Permanent (kind `arguments`) for what cannot be a mail, naming field and address, and (kind `email`) for what
    is refused for good, in the words of the server; Transient (kind `email`, `connection` or `timeout`) for what may
    work later.
    """
    settings = call.app.email or EmailSettings()
    seconds = call.plan.definition.timeout_seconds or DEFAULT_TIMEOUT_SECONDS
    places = call.tools.mail.places_with_files if call.arguments.get("attachments") else call.tools.mail.places
    async with _place(places, seconds * _SHARE_TO_WAIT):
        mail = await _build_mail(call, settings)
        return Done(await _SEND[settings.transport](call, settings, mail, seconds * _SHARE_TO_SEND), must_commit=True)


@asynccontextmanager
async def _place(places: asyncio.Semaphore, seconds: float) -> AsyncIterator[None]:
    """One of the few mails that are sent at once: servers refuse clients that open many connections."""
    try:
        async with asyncio.timeout(seconds):
            await places.acquire()
    except TimeoutError:
        raise Transient(f"this mail waited {seconds:.3g} s for others that were being sent", kind="timeout") from None
    try:
        yield
    finally:
        places.release()


async def _build_mail(call: Call, settings: EmailSettings) -> Mail:
    recipients = await read_recipients(call)
    sender = call.tools.mail.sender if settings.sender is None else parse_address(settings.sender)
    subject, plain, html = (text(call, name) for name in ("subject", "text", "html"))
    if subject is None:
        raise wrong(call, "a mail needs a `subject`")
    if plain is None and html is None:
        raise wrong(call, "a mail needs a `text` or `html`")
    if len(plain or "") + len(html or "") > _MAX_TEXT:
        raise wrong(
            call,
            f"`text` and `html` have more than {_MAX_TEXT // 1024 // 1024} million characters; attach a file instead",
        )
    return Mail(
        sender=sender,
        to=recipients.to,
        cc=recipients.cc,
        bcc=recipients.bcc,
        reply_to=recipients.reply_to,
        subject=clean_line(subject),
        text=plain,
        html=html,
        headers=_read_headers(call),
        attachments=await read_attachments(call),
        message_id=_message_id(call, sender),
    )


def _read_headers(call: Call) -> tuple[tuple[str, str], ...]:
    given = {name: value for name, value in mapping(call, "headers").items() if value is not None}
    for name in given:
        if not is_header_name(name) or is_ours(name):
            raise wrong(
                call,
                f"{name!r} is not a header that a mail may be given; other keys of the step set From, Subject and the "
                "like",
            )
    return tuple((name, clean_line(write_value(value))) for name, value in given.items())


def _message_id(call: Call, sender: Address) -> str:
    """Derived from run and step, so that it is stable; the hash stands for the step, whose path may have any length."""
    step = hashlib.sha256(call.path.encode()).hexdigest()[:12]
    return f"<{call.run.id}.{step}@{sender.domain}>"


async def _send_by_smtp(call: Call, _settings: EmailSettings, mail: Mail, seconds: float) -> str:
    client = call.tools.mail.client
    if client is None:
        raise Permanent(
            "there is no mail server: set PENSTOCK_SMTP_URL, or a `transport` under `email` in app.yaml", kind="email"
        )
    outcome = await client.send(mail, seconds)
    if isinstance(outcome, NotTaken):
        raise (
            Transient(outcome.reason, kind=outcome.kind)
            if outcome.is_temporary
            else Permanent(outcome.reason, kind=outcome.kind)
        )
    if outcome.refused:
        refused = "; ".join(f"{address}: {words}" for address, words in outcome.refused.items())
        message = (
            f"the mail was sent, but not to {len(outcome.refused)} of {len(mail.recipients)} recipients: {refused}"
        )
        call.tools.write_log(call.run.line("warning", LogEvent.MAIL_FAILED, message, call.now, step=call.path))
    return mail.message_id


_SEND: Final[Mapping[EmailTransport, Callable[[Call, EmailSettings, Mail, float], Awaitable[str]]]] = {
    EmailTransport.SMTP: _send_by_smtp,
    EmailTransport.SENDGRID: send_by_sendgrid,
    EmailTransport.POSTMARK: send_by_postmark,
}
