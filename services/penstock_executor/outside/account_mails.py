"""Mails about accounts: to whom they go, and the link in them.

They are sent by runs that no caller waits for. A run that is called would end sooner where nobody has the email, and
its caller would learn that.
"""

import html
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

from penstock.db import Connection
from penstock.errors import Permanent, Transient
from penstock.redaction import Redactor
from penstock.store.tokens import digest_token, make_token
from penstock.things.account_tokens import LIFETIME, Granted, Purpose, store_token
from penstock.things.tries import begin_letter
from penstock_executor.outside.mailing import send_mail
from penstock_executor.runs import Values
from penstock_executor.steps.accounts import KIND
from penstock_executor.steps.arguments import duration, text, wrong
from penstock_executor.steps.specs import Call

TOKEN: Final = "{token}"
LINK: Final = "{link}"
ARGUMENTS: Final = ("link", "subject", "text", "html", "expires")
MAX_LIFETIME: Final = timedelta(days=30)
"""Of a link."""


class Letter(NamedTuple):
    """What a mail says that says nothing else."""

    subject: str
    text: str


def refuse_callers(call: Call) -> None:
    """Raises Permanent in a run that somebody has called: how long it takes would say whether the email is known."""
    if "request" in (call.run.context or {}):
        raise wrong(
            call,
            "a caller could measure whether somebody has the email; `schedule` a workflow that has this step, from the "
            "one that is called",
        )


async def mail_link(call: Call, granted: Granted, purpose: Purpose, letter: Letter) -> None:
    """Mail a link with a new token to the granted email, unless it has got several mails a moment ago.

    Raises what `email` raises, without the token in it.
    """
    lifetime, link = _read_lifetime(call), _read_link(call)
    environment, token = call.run.environment, make_token()
    async with call.tools.database.connection() as conn:
        if not await begin_letter(conn, environment=environment, email=granted.email):
            return

    async def store(conn: Connection) -> None:
        await store_token(
            conn,
            environment=environment,
            digest=digest_token(token),
            purpose=purpose,
            granted=granted,
            lifetime=lifetime,
        )

    await call.tools.database.in_transaction(partial(store))
    arguments = _compose(call, link.replace(TOKEN, token), letter)
    try:
        await send_mail(replace(call, target=granted.email, arguments=arguments))
    except (Permanent, Transient) as error:
        # In the words of a server, which may have said what was sent to it.
        raise type(error)(Redactor([("token", token)]).text(str(error)), kind=error.kind) from None


def _compose(call: Call, link: str, letter: Letter) -> Values:
    plain, formatted = text(call, "text"), text(call, "html")
    if plain is None and formatted is None:
        plain = letter.text
    return {
        "subject": text(call, "subject") or letter.subject,
        "text": None if plain is None else plain.replace(LINK, link),
        "html": None if formatted is None else formatted.replace(LINK, html.escape(link)),
    }


def _read_link(call: Call) -> str:
    link = text(call, "link") or ""
    if not link.startswith(("https://", "http://")) or TOKEN not in link:
        raise wrong(call, f"`link` has to be a URL with {TOKEN} in it, such as https://example.com/reset?token={TOKEN}")
    for name in ("text", "html"):
        written = text(call, name)
        if written is not None and LINK not in written:
            raise wrong(call, f"`{name}` has to say where {LINK} stands")
    return link


def _read_lifetime(call: Call) -> timedelta:
    given = call.arguments.get("expires")
    lifetime = LIFETIME if given is None else duration(call, "expires", given)
    if not timedelta() < lifetime <= MAX_LIFETIME:
        raise Permanent(f"`expires` goes up to {MAX_LIFETIME.days}d, and is not zero", kind=KIND)
    return lifetime
