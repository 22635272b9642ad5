"""`verify_email: EMAIL` with `link`: a mail by whose link its reader shows that the address is theirs. Without:
`verify_email: TOKEN`, the reader of the mail has done so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock.errors import Permanent
from penstock.store.tokens import digest_token
from penstock.things.account_tokens import Granted, use_token
from penstock.things.accounts import find_account, verify_account
from penstock_executor.effects import Effect, Group
from penstock_executor.outside.account_mails import ARGUMENTS, Letter, mail_link, refuse_callers
from penstock_executor.steps.accounts import KIND, STALE_TOKEN, read_email, read_token
from penstock_executor.steps.consumption import consumption
from penstock_executor.steps.outcomes import Done, Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec

_LETTER: Final = Letter(
    "Confirm your address",
    "Confirm that this is your address:\n\n{link}\n\nIf you have no account with us, there is nothing to do.\n",
)


@dataclass(frozen=True, slots=True)
class VerifyEmail(Effect):
    """Use a token: its account has a verified email from now on."""

    digest: bytes

    def group(self) -> Group:
        """Verified emails."""
        return Group("account verification")

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> Sequence[JsonValue]:
        """`{user_id, email}` of each."""
        return [await _verify(conn, environment, effect.digest) for effect in effects]


async def _verify(conn: Connection, environment: str, digest: bytes) -> JsonValue:
    granted = await use_token(conn, environment=environment, digest=digest, purpose="email")
    if granted is None or granted.user_id is None:
        raise Permanent(STALE_TOKEN, kind=KIND)
    if not await verify_account(conn, environment=environment, user_id=granted.user_id, email=granted.email):
        raise Permanent(STALE_TOKEN, kind=KIND)
    return {"user_id": granted.user_id, "email": granted.email}


async def verify_email(call: Call) -> Outcome:
    """`{user_id, email}` of an address that was verified; nothing where a mail was sent, or would have been.

    Raises Permanent (kind `account`) for a token that was used, has expired, or is none.
    """
    if "link" not in call.arguments:
        return Write(VerifyEmail(digest_token(read_token(call))))
    refuse_callers(call)
    async with call.tools.database.connection() as conn:
        account = await find_account(conn, environment=call.run.environment, email=read_email(call))
    if account is not None and account.verified_at is None:
        await mail_link(call, Granted(account.email, account.user_id), "email", _LETTER)
    return Done(must_commit=True)


SPEC: Final = StepSpec(
    action=StepAction.VERIFY_EMAIL,
    target="an email, or the token of a mail",
    arguments=ARGUMENTS,
    awaited=verify_email,
    writes=(VerifyEmail,),
    consumes=consumption(Activity.CALL),
)
