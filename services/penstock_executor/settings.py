"""The executor's own settings, beside the common ones."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from penstock.contracts.topology import LANES, Lane
from penstock.mail.settings import MailSettings
from penstock.outgoing.settings import OutgoingSettings


def _split(value: object) -> object:
    return tuple(dict.fromkeys(part.strip() for part in value.split(","))) if isinstance(value, str) else value


class ExecutorSettings(MailSettings, OutgoingSettings):
    """`PENSTOCK_*` of one executor process."""

    executor_concurrency: int = Field(
        default=400, ge=1, le=10_000, description="Maximum runs that one process of an executor performs at once"
    )
    executor_processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes of one executor, each with slots and connections of its own: one for each processor "
        "that it may use",
    )
    executor_threads: int = Field(
        default=16, ge=1, le=1000, description="Maximum sync Python functions that it performs at once"
    )
    executor_lanes: Annotated[tuple[Lane, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=LANES, min_length=1, description="Lanes that it takes runs from: interactive,bulk, or one of them"
    )
    app: Path | None = Field(default=None, description="Directory of the app, for its Python workflows and actions")

    @property
    def processes(self) -> int:
        """In how many processes the executor runs."""
        return self.executor_processes
