"""`log_out: this | others | all`: ends sessions of the user for whom the run works."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import StepAction
from penstock.domain.callers import is_admin_user
from penstock.errors import Permanent
from penstock.store.tokens import end_sessions
from penstock_executor.effects import Effect, Group
from penstock_executor.steps.accounts import KIND
from penstock_executor.steps.arguments import target_text, wrong
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec


@dataclass(frozen=True, slots=True)
class EndSessions(Effect):
    """End tokens of a user: all, `only` one, or all `but` one."""

    user_id: str
    only: UUID | None = None
    but: UUID | None = None

    def group(self) -> Group:
        """Sessions that end."""
        return Group("session end")

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> Sequence[JsonValue]:
        """How many have ended, for each."""
        ended: dict[int, JsonValue] = {}
        # In the order of users, so that two transactions wait for each other in one order.
        for position, one in sorted(enumerate(effects), key=lambda item: item[1].user_id):
            ended[position] = await end_sessions(
                conn, environment=environment, user_id=one.user_id, only=one.only, but=one.but
            )
        return [ended[position] for position in range(len(effects))]


def log_out(call: Call) -> Outcome:
    """How many sessions have ended. Raises Permanent (kind `account`) in runs that work for no user of the app, and for
    `this` and `others` where no token of theirs has called.
    """
    which, user_id = target_text(call), call.run.user_id
    if which not in {"this", "others", "all"}:
        raise wrong(call, f"this, others, or all is expected, and this is {which[:40]!r}")
    if user_id is None or is_admin_user(user_id):
        raise Permanent("nobody is logged in who could be logged out", kind=KIND)
    if which == "all":
        return Write(EndSessions(user_id))
    session = _find_session(call)
    if session is None:
        raise Permanent("this run was not called with a token that `log_in` has given", kind=KIND)
    return Write(EndSessions(user_id, only=session) if which == "this" else EndSessions(user_id, but=session))


def _find_session(call: Call) -> UUID | None:
    """The id of the token that has called; runs that this one schedules do not have it."""
    session = (call.run.context or {}).get("session")
    return UUID(session) if isinstance(session, str) else None


SPEC: Final = StepSpec(
    action=StepAction.LOG_OUT,
    target="this, others, or all",
    immediate=log_out,
    writes=(EndSessions,),
)
