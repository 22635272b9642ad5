"""What a call of the client can raise, each named by what the caller can do about it. All are ClientError."""

from uuid import UUID

from penstock.domain.states import RunState
from penstock.errors import PenstockError


class ClientError(PenstockError):
    """Root of what the client raises, and what is raised for an answer that Penstock does not give."""


class Refused(ClientError):
    """Penstock has refused the request, and would refuse it again: `status` is the HTTP status, `detail` says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


class Unavailable(ClientError):
    """Penstock could not be reached, or was too busy, until the deadline. Whether it has taken the request is not
    known: call again with the same `key`, and it is taken once.
    """

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class NotEnded(ClientError):
    """The run has started, and had not ended at the deadline. It continues: ask for its `status`, or call `run` again
    with the same `key`, which waits for the same run.
    """

    def __init__(self, run_id: UUID, *, key: str) -> None:
        super().__init__(f"run {run_id} has not ended in time; it continues. Call again with the key {key} to wait on")
        self.run_id = run_id
        self.key = key


class RunFailed(ClientError):
    """The run has ended without success: `state` is failed, skipped, cancelled or terminated. `kind` is that of the
    error, where the port reports it.
    """

    def __init__(self, run_id: UUID, state: RunState, message: str, *, kind: str | None = None) -> None:
        super().__init__(f"run {run_id} {state.value}: {message}" if message else f"run {run_id} {state.value}")
        self.run_id = run_id
        self.state = state
        self.message = message
        self.kind = kind


class Unsupported(ClientError):
    """This port of Penstock cannot do that; the message names one that can."""


class WebhookRefused(ClientError):
    """The webhook was not signed by one of the secrets, or too long ago. Answer it with 401."""
