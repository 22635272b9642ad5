"""What the client returns. Unknown fields are ignored, so that an older client understands a newer Penstock."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, SkipValidation

from penstock.client.errors import RunFailed
from penstock.domain.states import RunState


class Returned(BaseModel):
    """What is frozen, and made from JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ScheduledRun(Returned):
    """A run that was asked for. `state` is None where the port does not report it; `duplicate`: the key was used
    before, by an earlier try of this call or by another call, and the run is the one that was made then.
    """

    run_id: UUID = Field(validation_alias=AliasChoices("run_id", "id"))
    state: RunState | None = None
    duplicate: bool = False


class RunError(Returned):
    """Why a run failed. `kind` is None where the port does not report it."""

    kind: str | None = None
    message: str = ""


class RunStatus(Returned):
    """A run as it is now. `result` is what the workflow has returned."""

    run_id: UUID = Field(validation_alias=AliasChoices("run_id", "id"))
    workflow: str
    state: RunState
    result: Annotated[JsonValue, SkipValidation] = Field(
        default=None, validation_alias=AliasChoices("result", "response")
    )
    error: RunError | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the run will not continue by itself."""
        return self.state.is_final

    def answer(self) -> JsonValue:
        """What the workflow has returned, `{}` if nothing. Raises RunFailed for a run that has ended otherwise."""
        if self.state is RunState.SUCCEEDED:
            return {} if self.result is None else self.result
        error = self.error or RunError()
        raise RunFailed(self.run_id, self.state, error.message, kind=error.kind)


class Ended(Returned):
    """How many runs were cancelled so far."""

    done: int = Field(validation_alias=AliasChoices("done", "cancelled"))


class SignalOutcome(Returned):
    """What a signal did: how many runs it has woken, whether it is kept for one that will wait for it, and whether it
    is a copy, which did nothing.
    """

    woken: int = 0
    kept: bool = False
    duplicate: bool = False
