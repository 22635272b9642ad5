"""What is shown of a step's inputs."""

from datetime import datetime

from pydantic import Field, JsonValue

from penstock.runs.views.models import Shown, Stored


class InputNote(Shown):
    """Why a value in the inputs is not, or may not be, the one that the step had."""

    at: str = Field(description="Where it is, such as `set.total`; empty: everything")
    why: str


class StepInputs(Shown):
    """What a step was given, computed from what is stored: its arguments are evaluated again."""

    step: str = Field(description="Path of the step")
    action: str
    workflow: str | None = Field(description="Which has the step: the run's own, or one that it triggers")
    version: int | None = Field(description="The deployment by which it is evaluated")
    place: str = Field(description="File and line in the app")
    inputs: Stored = Field(
        default=None,
        description="By name, the first of them under the name of the action. What cannot be known again is as it is "
        "written; null: nothing can be, or nothing was evaluated",
    )
    notes: list[InputNote]
    changed_at: datetime | None = Field(
        description="When the run was retried with other parameters or by another version after the step had ended: it "
        "may have been given something else. Null: it was not"
    )


Values = dict[str, JsonValue]
