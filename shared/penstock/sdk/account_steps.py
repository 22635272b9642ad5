"""Steps about the accounts of an app's users. Passwords are parameters of type `Password`, and given as they are."""

from collections.abc import Coroutine, Mapping
from typing import Literal, NamedTuple, Unpack

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.sdk.arguments import checked
from penstock.sdk.engine import StepOptions
from penstock.sdk.signature import Password
from penstock.sdk.steps import Steps, to_nothing, to_number
from penstock.sdk.triggers import Duration, to_seconds
from penstock.sdk.values import to_object


class Session(NamedTuple):
    """What a user is given who has logged in. `token` is sealed: return it, and the caller of the workflow gets it as
    it is; `expires` is in seconds.
    """

    token: str
    user_id: str
    expires: int


class Person(NamedTuple):
    """Who has used the link of a mail. `is_new`: they became a user by that."""

    user_id: str
    email: str
    is_new: bool = False


class AccountSteps(Steps):
    """`sign_up`, `log_in`, `reset_password`, … as they are in YAML."""

    @checked
    def send_password_reset(
        self,
        email: str,
        *,
        link: str,
        invite: bool = False,
        subject: str | None = None,
        text: str | None = None,
        html: str | None = None,
        expires: Duration | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, None]:
        """Mail a link by which its reader chooses a password; to somebody who has no account only with `invite`. Not
        in runs that somebody has called: schedule a workflow that does this.
        """
        arguments = {**_letter(link, subject, text, html, expires), "invite": invite}
        return self._ask(StepAction.SEND_PASSWORD_RESET, email, arguments, to_nothing, options)

    @checked
    def reset_password(
        self,
        token: Password,
        *,
        password: Password,
        set: Mapping[str, object] | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, Person]:
        """Give the user of a mail's token the password, and end all their sessions. `set` has values for somebody who
        becomes a user. Raises Permanent for a token that was used or has expired.
        """
        arguments: dict[str, JsonValue] = {
            "password": password,
            "set": None if set is None else to_object(set, "reset_password"),
        }
        return self._ask(StepAction.RESET_PASSWORD, token, arguments, _person, options)

    @checked
    def verify_email(
        self,
        email_or_token: str,
        *,
        link: str | None = None,
        subject: str | None = None,
        text: str | None = None,
        html: str | None = None,
        expires: Duration | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, Person | None]:
        """With a `link`, mail it to an email, for its reader to show that the address is theirs. Without, use the token
        of such a mail. Raises Permanent for a token that was used or has expired.
        """
        arguments = {} if link is None else _letter(link, subject, text, html, expires)
        convert = _person if link is None else to_nothing
        return self._ask(StepAction.VERIFY_EMAIL, email_or_token, arguments, convert, options)

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


def _person(result: JsonValue) -> Person:
    given = result if isinstance(result, dict) else {}
    return Person(str(given.get("user_id")), str(given.get("email")), given.get("is_new") is True)


def _letter(
    link: str, subject: str | None, text: str | None, html: str | None, expires: Duration | None
) -> dict[str, JsonValue]:
    seconds = None if expires is None else to_seconds(expires)
    return {"link": link, "subject": subject, "text": text, "html": html, "expires": seconds}


def _session(result: JsonValue) -> Session:
    given = result if isinstance(result, dict) else {}
    return Session(str(given.get("token")), str(given.get("user_id")), to_number(given.get("expires")))
