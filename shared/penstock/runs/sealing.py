"""Passwords that callers give to runs, and tokens that runs give to callers: encrypted wherever they are kept.

A parameter of type `password` is sealed before its run is admitted, for this one run. Rows, messages, logs, views and
answers have the sealed text, and only a step about accounts of the same run opens it. So a sealed text is of no use to
those who read it, and sending it in place of a password does not help either: it would be sealed again.

A token that `log_in` gives is sealed in the step's result, for the run again, and opened in the answer to the run's
caller alone, also when the answer is given again for an idempotency key.
"""

from collections.abc import Mapping
from uuid import UUID

from pydantic import JsonValue

from penstock.definitions.models import Workflow
from penstock.definitions.parameters import ParameterProblem
from penstock.encryption import Keyring, Undecryptable, seal, unseal, unseal_within
from penstock.things.passwords import MAX_BYTES


class UnsealedPassword(ParameterProblem):
    """A password was given where nothing encrypts it. What it came with must not be kept."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "INVALID_DATA",
            name,
            f"Invalid value for parameter {name}: a password is taken only where it is encrypted before it is stored: "
            "in calls over HTTP, commands and the management API, and where PENSTOCK_SECRET_KEY is set",
        )


def seal_passwords(
    workflow: Workflow, bound: Mapping[str, JsonValue], environment: str, run_id: UUID, keyring: Keyring | None
) -> dict[str, JsonValue]:
    """The bound parameters of a run, with its passwords sealed. Raises ParameterProblem for one that is too long,
    UnsealedPassword where there is no keyring.
    """
    sealed = dict(bound)
    for name in workflow.passwords:
        value = sealed.get(name)
        if value is None:
            continue
        if keyring is None:
            raise UnsealedPassword(name)
        if not isinstance(value, str) or len(value.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            message = f"Invalid value for parameter {name}: a password has at most {MAX_BYTES} bytes"
            raise ParameterProblem("INVALID_DATA", name, message)
        sealed[name] = seal(keyring, value, _place("password", environment, run_id))
    return sealed


def unseal_password(sealed: JsonValue, environment: str, run_id: UUID, keyring: Keyring | None) -> str | None:
    """The password that was sealed for this run; None for anything else."""
    if keyring is None or not isinstance(sealed, str):
        return None
    try:
        return unseal(keyring, sealed, _place("password", environment, run_id))
    except Undecryptable:
        return None


def seal_token(token: str, environment: str, run_id: UUID, keyring: Keyring) -> str:
    """A token, for the caller of this run alone."""
    return seal(keyring, token, _place("token", environment, run_id))


def unseal_tokens(text: str, environment: str, run_id: UUID, keyring: Keyring | None) -> str:
    """`text`, with the tokens that were sealed for the caller of this run."""
    return text if keyring is None else unseal_within(keyring, text, _place("token", environment, run_id))


def _place(what: str, environment: str, run_id: UUID) -> str:
    return f"{what}/{environment}/{run_id}"
