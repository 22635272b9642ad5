"""What the steps about accounts share: whose account it is, the password that was given, and the session it opens.

An email that nobody has is treated as one that somebody has: it is searched for, counted, and its password is hashed.
Passwords and tokens are encrypted wherever a run keeps them; `penstock.runs.sealing` says how.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from pydantic import JsonValue

from penstock.db import Connection
from penstock.domain.ids import new_run_id
from penstock.errors import Permanent
from penstock.networks import group_of
from penstock.runs.sealing import seal_token, unseal_password
from penstock.store.tokens import USER_LIFETIME, NewSession, digest_token, make_token, open_sessions
from penstock.things.accounts import normalize_email
from penstock.things.passwords import find_password_problem
from penstock.things.tries import Origin, forgive_tries
from penstock_executor.effects import Effect, Group
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import duration, target_text, wrong
from penstock_executor.steps.specs import Call

KIND: Final = "account"
"""Of errors that are the caller's matter; 400 to a caller over HTTP."""
WRONG: Final = "credentials"
"""An email and a password that do not belong together; 401."""
TOO_MANY: Final = "too_many_tries"
"""429."""
STALE_TOKEN: Final = "this link was used, or has expired; ask for another one"
MAX_LIFETIME: Final = timedelta(days=366)
"""Of a session: with Bubble it is twelve months."""


@dataclass(frozen=True, slots=True)
class OpenSession(Effect):
    """Let a user have a session; the tries that led there do not count."""

    session: NewSession
    origin: Origin

    def group(self) -> Group:
        """Sessions."""
        return Group("session")

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> None:
        """No results: the token is known before."""
        await open_sessions(conn, environment=environment, sessions=[effect.session for effect in effects])
        await forgive_tries(conn, [effect.origin for effect in effects])


def read_email(call: Call) -> str:
    """The email behind the action's key. Raises Permanent for what is not one."""
    try:
        return normalize_email(target_text(call))
    except ValueError as error:
        raise Permanent(f"the email: {error}", kind=KIND) from None


def read_password(call: Call, name: str = "password", *, is_new: bool = False) -> str:
    """The password behind key `name`, as it was typed. Raises Permanent for what is none, and for a new one that is too
    short.
    """
    given = call.arguments.get(name)
    password = unseal_password(given, call.run.environment, call.run.id, call.tools.keyring)
    if password is None:
        raise wrong(call, f"`{name}` has to be a parameter of type password, as the caller has given it")
    if is_new and (problem := find_password_problem(password)) is not None:
        raise Permanent(problem, kind=KIND)
    return password


def read_token(call: Call) -> str:
    """The token of a mail behind the action's key, as it stood there. Raises Permanent."""
    token = unseal_password(call.target, call.run.environment, call.run.id, call.tools.keyring)
    if token is None:
        raise wrong(call, "a parameter of type password is expected, as the caller has given it")
    return token


def find_origin(call: Call, email: str) -> Origin:
    """Whose password is tried, and from where. All who come without an address count as one."""
    request = (call.run.context or {}).get("request")
    ip = request.get("ip") if isinstance(request, dict) else None
    return Origin(call.run.environment, email, group_of(ip if isinstance(ip, str) else None))


def read_lifetime(call: Call) -> timedelta:
    """How long the session holds."""
    given = call.arguments.get("expires")
    lifetime = USER_LIFETIME if given is None else duration(call, "expires", given)
    if not timedelta() < lifetime <= MAX_LIFETIME:
        raise wrong(call, f"`expires` goes up to {MAX_LIFETIME.days}d, and is not zero")
    return lifetime


def prepare_session(call: Call, user_id: str) -> tuple[NewSession, Values]:
    """A session to be stored, and what the step's result is: `{token, user_id, expires}`, with the token sealed."""
    keyring = call.tools.keyring
    assert keyring is not None, "the password was sealed with one"
    token, lifetime = make_token(), read_lifetime(call)
    session = NewSession(new_run_id(), digest_token(token), user_id, lifetime, call.run.id)
    result: dict[str, JsonValue] = {
        "token": seal_token(token, call.run.environment, call.run.id, keyring),
        "user_id": user_id,
        "expires": int(lifetime.total_seconds()),
    }
    return session, result
