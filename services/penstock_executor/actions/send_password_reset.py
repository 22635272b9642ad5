"""`send_password_reset: EMAIL`: a mail with a link by which its reader chooses a new password, once."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock.things.account_tokens import Granted
from penstock.things.accounts import find_user_by_email
from penstock_executor.outside.account_mails import ARGUMENTS, Letter, mail_link, refuse_callers
from penstock_executor.steps.accounts import read_email
from penstock_executor.steps.arguments import flag
from penstock_executor.steps.consumption import consumption
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec

_RESET: Final = Letter(
    "Choose a new password",
    "Somebody, probably you, has asked for a new password. Choose one here:\n\n{link}\n\n"
    "If it was not you, there is nothing to do: your password stays as it is.\n",
)
_INVITE: Final = Letter(
    "Choose your password",
    "Somebody, probably you, has asked for an account with this address. Choose a password here:\n\n{link}\n\n"
    "If it was not you, there is nothing to do.\n",
)


async def send_password_reset(call: Call) -> Outcome:
    """Nothing, whether somebody has the email or not. With `invite`, somebody new gets a mail as well.

    Raises Permanent in a run that somebody has called, and what `email` raises.
    """
    refuse_callers(call)
    email = read_email(call)
    async with call.tools.database.connection() as conn:
        user = await find_user_by_email(conn, environment=call.run.environment, email=email)
    if user is not None:
        await mail_link(call, Granted(user.email, user.user_id), "password", _RESET)
    elif flag(call, "invite"):
        await mail_link(call, Granted(email, None), "password", _INVITE)
    return Done(must_commit=True)


SPEC: Final = StepSpec(
    action=StepAction.SEND_PASSWORD_RESET,
    target="an email",
    arguments=(*ARGUMENTS, "invite"),
    awaited=send_password_reset,
    consumes=consumption(Activity.CALL),
)
