"""Pure decisions of the executor: what kind of failure an error is, and what becomes of a run whose attempt failed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import RetryPolicy
from penstock.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    Interrupted,
    LeaseLost,
    PenstockError,
    Permanent,
    Transient,
)
from penstock.expressions import ExpressionError
from penstock.redaction import describe
from penstock.storable import storable_text
from penstock_executor.rules.backoff import retry_delay

_MAX_MESSAGE: Final = 4000


@dataclass(frozen=True, slots=True)
class Retry:
    """Try the run again at `at`; the attempt counts as a failure."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """Give the run back for another executor to take up at once; the attempt is not held against it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Discard:
    """Do nothing: somebody else owns the run now."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The run has failed for good and waits for a person."""

    reason: str


Decision = Retry | Release | Discard | DeadLetter


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step, or a run, failed: for the run's record, the log and the caller."""

    kind: str
    message: str
    step: str | None = None
    place: str | None = None
    expression: str | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """The fields that are known."""
        fields: dict[str, JsonValue] = {
            "kind": self.kind, "message": self.message, "step": self.step, "place": self.place,
            "expression": self.expression,
        }  # fmt: skip
        return {name: value for name, value in fields.items() if value is not None}


def decide(policy: RetryPolicy, failures: int, error: Exception, now: datetime, jitter: float) -> Decision:
    """What becomes of a run whose attempt ended with `error` after `failures` failed attempts; `jitter` is 0 to 1.

    An error that we did not raise on purpose may be a passing one, so it is tried again as a transient one is.
    """
    if isinstance(error, LeaseLost):
        return Discard(describe(error))
    if isinstance(error, Interrupted | DatabaseUnavailable | BrokerUnavailable):
        return Release(describe(error))
    if isinstance(error, PenstockError) and not isinstance(error, Transient):
        return DeadLetter("trying again cannot help")
    if failures + 1 >= policy.attempts:
        return DeadLetter(f"failed {failures + 1} of at most {policy.attempts} times")
    return Retry(now + timedelta(seconds=retry_delay(policy, failures, error, jitter)))


def describe_failure(error: Exception, step: str | None = None, place: str | None = None) -> Failure:
    """An error as what is stored and shown. Errors that are not ours are named by their type, as internal ones."""
    if isinstance(error, ExpressionError):
        return Failure("expression", _cut(describe(error)), step, error.place or place, error.source)
    if isinstance(error, Permanent | Transient):
        return Failure(error.kind, _cut(describe(error)), step, error.place or place)
    return Failure("internal", _cut(f"{type(error).__name__}: {describe(error)}"), step, place)


def _cut(message: str) -> str:
    """The message, short enough to show, and without what PostgreSQL cannot store."""
    return storable_text(message if len(message) <= _MAX_MESSAGE else f"{message[:_MAX_MESSAGE]}…")
