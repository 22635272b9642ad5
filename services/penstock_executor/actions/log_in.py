"""`log_in: EMAIL`: a session of the user whose email and password these are."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.errors import Permanent
from penstock.things.accounts import find_account
from penstock.things.tries import begin_try
from penstock_executor.steps.accounts import (
    TOO_MANY,
    WRONG,
    OpenSession,
    find_origin,
    prepare_session,
    read_email,
    read_lifetime,
    read_password,
)
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Becomes, Call, StepSpec


async def log_in(call: Call) -> Outcome:
    """`{token, user_id, expires}`: the token, sealed; how many seconds it holds.

    Raises Permanent (kind `credentials`) when they do not belong together, in the same words whether somebody has the
    email or not, and (kind `too_many_tries`) when too many were tried.
    """
    email, password = read_email(call), read_password(call)
    read_lifetime(call)
    environment, origin = call.run.environment, find_origin(call, email)
    async with call.tools.database.connection() as conn:
        if not await begin_try(conn, origin):
            raise Permanent("too many passwords were tried; try again in a quarter of an hour", kind=TOO_MANY)
        account = await find_account(conn, environment=environment, email=email)
    is_right = await call.tools.hashing.is_password(password, None if account is None else account.password_hash)
    if account is None or not is_right:
        raise Permanent("the email or the password is wrong", kind=WRONG)
    session, result = prepare_session(call, account.user_id)
    return Write(OpenSession(session, origin), result, is_known=True)


SPEC: Final = StepSpec(
    action=StepAction.LOG_IN,
    target="an email",
    arguments=("password", "expires"),
    awaited=log_in,
    writes=(OpenSession,),
    becomes=Becomes.SESSION,
)
