"""Every error kind of the project, flat, each named by what happens next."""


class PenstockError(Exception):
    """Root of all errors raised on purpose; its text is written for the person who reads it."""


class ConfigurationError(PenstockError):
    """A setting, an installation or a command line is wrong: say so and stop, before anything connects."""


class DecodeError(PenstockError):
    """A message cannot be understood: it goes to the dead letters with `reason` and is never retried."""

    def __init__(self, reason: str, raw: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.raw = raw


class Transient(PenstockError):
    """It may work later (time-out, connection, 429, 5xx, deadlock): retried by the run's policy.

    `retry_after_seconds` is what the other side asked for, if it did, and `status` the HTTP status that it answered
    with; `place` the author's `file:line`, where it is known.
    """

    place: str | None = None

    def __init__(
        self,
        message: str,
        *,
        kind: str = "transient",
        retry_after_seconds: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds
        self.status = status


class Permanent(PenstockError):
    """Trying again cannot help (bad parameters, unknown field, 4xx, an error in an expression): the run fails at once.

    `place` is the author's `file:line`, where it is known.
    """

    place: str | None = None

    def __init__(self, message: str, *, kind: str = "permanent") -> None:
        super().__init__(message)
        self.kind = kind


class Interrupted(PenstockError):
    """Our own broker or database went away in mid-run: the run is given back and the attempt is not held against it."""


class LeaseLost(PenstockError):
    """Another attempt owns the run now (or it was cancelled): stop at once and write nothing more."""


class BrokerUnavailable(PenstockError):
    """The broker did not confirm in time; the message may or may not have been taken, so send it again with the same
    key.
    """


class StorageUnavailable(Transient):
    """Where files lie cannot be reached, or refuses: a step is tried again, a request is answered with 503."""


class DatabaseUnavailable(PenstockError):
    """PostgreSQL cannot be reached or refuses work for now; nothing was decided, so the caller may try again."""


class StaleDefinitions(PenstockError):
    """A newer deployment than the one this process has cached is current: load it and decide again."""
