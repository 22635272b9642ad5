"""The scheduler's own settings, beside the common ones."""

from penstock.mail.settings import MailSettings


class SchedulerSettings(MailSettings):
    """`PENSTOCK_*` of one scheduler process."""
