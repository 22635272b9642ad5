"""The one place that reads the wall clock of this process. Leases and due times use the database's clock instead."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)
