"""The scheduler's own settings, beside the common ones."""

from penstock.mail.settings import MailSettings
from penstock.outgoing.settings import OutgoingSettings


class SchedulerSettings(MailSettings, OutgoingSettings):
    """`PENSTOCK_*` of one scheduler process."""
