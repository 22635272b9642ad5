"""`sign_up: EMAIL`: a new user with an account, and a session of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from penstock.db import Connection
from penstock.definitions.models import DataType, StepAction
from penstock.domain.ids import new_thing_id
from penstock.errors import Permanent
from penstock.store.tokens import NewSession, open_sessions
from penstock.things.accounts import is_email_taken, store_account
from penstock.things.records import NewThing, PreparedThing, insert_prepared, prepare_thing
from penstock.things.tables import USER
from penstock_executor.effects import Effect, Group
from penstock_executor.steps.accounts import KIND, prepare_session, read_email, read_lifetime, read_password
from penstock_executor.steps.arguments import data_type, mapping
from penstock_executor.steps.consumption import consumption, one_written
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Becomes, Call, StepSpec


@dataclass(frozen=True, slots=True)
class CreateAccount(Effect):
    """Create a user with an account and a session, unless somebody has the email."""

    is_alone: ClassVar[bool] = True

    data_type: DataType
    thing: PreparedThing
    email: str
    password_hash: str
    session: NewSession

    @property
    def changed_type(self) -> DataType:
        """Users."""
        return self.data_type

    def group(self) -> Group:
        """Accounts."""
        return Group("account")

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> None:
        """No results: the user and the token are known before."""
        for one in effects:
            if await is_email_taken(conn, environment=environment, email=one.email):
                raise Permanent(f"there is an account of {one.email} already", kind=KIND)
            await insert_prepared(conn, environment=environment, data_type=one.data_type, things=[one.thing])
            await store_account(
                conn,
                environment=environment,
                user_id=one.session.user_id,
                email=one.email,
                password_hash=one.password_hash,
            )
            await open_sessions(conn, environment=environment, sessions=[one.session])


async def sign_up(call: Call) -> Outcome:
    """`{token, user_id, expires}`, as `log_in` has it; the user is their own creator.

    Raises Permanent (kind `account`) for a password that is too short and an email that somebody has.
    """
    email, password = read_email(call), read_password(call, is_new=True)
    read_lifetime(call)
    kind, id = data_type(call, USER.name), new_thing_id()
    thing = prepare_thing(kind, NewThing(id, {**mapping(call, "set"), "email": email}, id, call.now))
    password_hash = await call.tools.hashing.hash(password)
    session, result = prepare_session(call, id)
    return Write(CreateAccount(kind, thing, email, password_hash, session), result, is_known=True)


SPEC: Final = StepSpec(
    action=StepAction.SIGN_UP,
    target="an email",
    arguments=("password", "set", "expires"),
    awaited=sign_up,
    writes=(CreateAccount,),
    consumes=consumption(done=one_written),
    becomes=Becomes.SESSION,
)
