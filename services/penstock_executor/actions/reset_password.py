"""`reset_password: TOKEN`: the reader of a mail has chosen a password, and perhaps becomes a user by that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType, StepAction
from penstock.domain.ids import new_thing_id
from penstock.errors import Permanent
from penstock.store.tokens import digest_token, end_sessions
from penstock.things.account_tokens import use_token
from penstock.things.accounts import find_user_by_email, is_email_taken, replace_account
from penstock.things.records import NewThing, create_things
from penstock.things.tables import USER
from penstock.things.tries import Origin, forgive_tries
from penstock_executor.effects import Effect, Group
from penstock_executor.runs import Values
from penstock_executor.steps.accounts import KIND, STALE_TOKEN, find_origin, read_password, read_token
from penstock_executor.steps.arguments import data_type, mapping
from penstock_executor.steps.consumption import consumption, one_written
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec


@dataclass(frozen=True, slots=True)
class ResetPassword(Effect):
    """Use a token, give its user the password, and end all their sessions. Where the token is of nobody yet, its user
    is made, with these values.
    """

    is_alone: ClassVar[bool] = True

    data_type: DataType
    digest: bytes
    password_hash: str
    values: Values
    origin: Origin

    @property
    def changed_type(self) -> DataType:
        """Users."""
        return self.data_type

    def group(self) -> Group:
        """Accounts."""
        return Group("account reset")

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> Sequence[JsonValue]:
        """`{user_id, email, is_new}` of each."""
        return [await _reset(conn, environment, effect) for effect in effects]


async def _reset(conn: Connection, environment: str, one: ResetPassword) -> JsonValue:
    granted = await use_token(conn, environment=environment, digest=one.digest, purpose="password")
    if granted is None:
        raise Permanent(STALE_TOKEN, kind=KIND)
    user_id = granted.user_id
    if user_id is None and await is_email_taken(conn, environment=environment, email=granted.email):
        # Somebody has got the email since the mail was sent; who reads its mail has shown that it is theirs.
        known = await find_user_by_email(conn, environment=environment, email=granted.email)
        if known is None:
            raise Permanent(STALE_TOKEN, kind=KIND)
        user_id = known.user_id
    is_new = user_id is None
    if user_id is None:
        user_id = new_thing_id()
        thing = NewThing(user_id, {**one.values, "email": granted.email}, user_id)
        await create_things(conn, environment=environment, data_type=one.data_type, things=[thing])
    is_stored = await replace_account(
        conn, environment=environment, user_id=user_id, email=granted.email, password_hash=one.password_hash
    )
    if not is_stored:
        raise Permanent(STALE_TOKEN, kind=KIND)
    await end_sessions(conn, environment=environment, user_id=user_id)
    await forgive_tries(conn, [one.origin._replace(email=granted.email)])
    return {"user_id": user_id, "email": granted.email, "is_new": is_new}


async def reset_password(call: Call) -> Outcome:
    """`{user_id, email, is_new}`. All sessions of the user end.

    Raises Permanent (kind `account`) for a token that was used, has expired, or is none, and for a password that is too
    short, which does not use the token.
    """
    password, token = read_password(call, is_new=True), read_token(call)
    password_hash = await call.tools.hashing.hash(password)
    kind = data_type(call, USER.name)
    return Write(ResetPassword(kind, digest_token(token), password_hash, mapping(call, "set"), find_origin(call, "")))


SPEC: Final = StepSpec(
    action=StepAction.RESET_PASSWORD,
    target="the token of a mail",
    arguments=("password", "set"),
    awaited=reset_password,
    writes=(ResetPassword,),
    consumes=consumption(done=one_written),
)
