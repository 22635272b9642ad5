"""The executor's own settings, beside the common ones."""

from pathlib import Path

from pydantic import Field

from penstock.mail.settings import MailSettings
from penstock.outgoing.settings import OutgoingSettings


class ExecutorSettings(MailSettings, OutgoingSettings):
    """`PENSTOCK_*` of one executor process."""

    executor_concurrency: int = Field(
        default=400, ge=1, le=10_000, description="Maximum runs that one executor performs at once"
    )
    executor_threads: int = Field(
        default=16, ge=1, le=1000, description="Maximum sync Python functions that it performs at once"
    )
    app: Path | None = Field(default=None, description="Directory of the app, for its Python workflows and actions")
