"""How an app sends mail."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class EmailTransport(StrEnum):
    """Who carries an app's mail: the mail server of the installation, or a service with an HTTP API."""

    SMTP = "smtp"
    SENDGRID = "sendgrid"
    POSTMARK = "postmark"


class EmailSettings(BaseModel):
    """How an app sends mail. `sender` None: PENSTOCK_EMAIL_FROM. `api_key` may embed `${secrets.NAME}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sender: str | None = None
    transport: EmailTransport = EmailTransport.SMTP
    api_key: str | None = None
    base_url: str | None = None
