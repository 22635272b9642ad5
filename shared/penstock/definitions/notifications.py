"""How an app asks that people are notified."""

from pydantic import BaseModel, ConfigDict, Field


class NotificationWebhook(BaseModel):
    """A receiver of signed webhooks; `secret` is `${secrets.NAME}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    secret: str


class Notifications(BaseModel):
    """By which ways people are notified beside mail to the admins, and how often of which kind; else once a day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    webhooks: tuple[NotificationWebhook, ...] = ()
    slack: tuple[str, ...] = ()
    every: dict[str, str] = Field(default_factory=dict)
