"""Steps about the accounts of an app's users. Passwords are parameters of type `Password`, and given as they are."""

from collections.abc import Coroutine, Mapping
from typing import Literal, NamedTuple, Unpack

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.sdk.arguments import checked
from penstock.sdk.engine import StepOptions
from penstock.sdk.signature import Password
from penstock.sdk.steps import Steps, to_number
from penstock.sdk.triggers import Duration, to_seconds
from penstock.sdk.values import to_object


class Session(NamedTuple):
    """What a user is given who has logged in. `token` is sealed: return it, and the caller of the workflow gets it as
    it is; `expires` is in seconds.
    """

    token: str
    user_id: str
    expires: int


class AccountSteps(Steps):
    """`sign_up`, `log_in` and `log_out`, as they are in YAML."""

    @checked
    def sign_up(
        self,
        email: str,
        *,
        password: Password,
        set: Mapping[str, object] | None = None,
        expires: Duration | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, Session]:
        """A new user with an account, and a session of theirs. `set` has values of other fields. Raises Permanent for
        an email that somebody has, and a password that is too short.
        """
        arguments: dict[str, JsonValue] = {
            "password": password,
            "set": None if set is None else to_object(set, "sign_up"),
            "expires": None if expires is None else to_seconds(expires),
        }
        return self._ask(StepAction.SIGN_UP, email, arguments, _session, options)

    @checked
    def log_in(
        self, email: str, *, password: Password, expires: Duration | None = None, **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, Session]:
        """A session of the user with this email and password; it holds for a day unless `expires` says otherwise.
        Raises Permanent when they do not belong together, and when too many were tried.
        """
        arguments: dict[str, JsonValue] = {
            "password": password,
            "expires": None if expires is None else to_seconds(expires),
        }
        return self._ask(StepAction.LOG_IN, email, arguments, _session, options)

    @checked
    def log_out(
        self, which: Literal["this", "others", "all"] = "this", **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, int]:
        """End sessions of the run's user: the one that has called, the others, or all; how many have ended."""
        return self._ask(StepAction.LOG_OUT, which, {}, to_number, options)


def _session(result: JsonValue) -> Session:
    given = result if isinstance(result, dict) else {}
    return Session(str(given.get("token")), str(given.get("user_id")), to_number(given.get("expires")))
