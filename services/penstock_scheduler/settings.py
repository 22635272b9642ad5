"""The scheduler's own settings, beside the common ones."""

from pydantic import Field

from penstock.mail.settings import MailSettings
from penstock.outgoing.settings import OutgoingSettings


class SchedulerSettings(MailSettings, OutgoingSettings):
    """`PENSTOCK_*` of one scheduler process."""

    console_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#]+(?:/[^\s?#]*)?$",
        description="Where people reach the admin port, such as https://penstock.example.com; notifications lead to "
        "the page of the console",
    )
    unused_uploads_hours: float = Field(
        default=24.0,
        ge=0,
        le=87_600,
        description="How long a file that came with a call is kept when no thing and no run refers to it; 0: for good",
    )
