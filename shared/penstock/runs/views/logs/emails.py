"""Whose run wrote a line: it has the user's id, and the email that this user has now is added when it is shown."""

from penstock.db import Connection
from penstock.runs.views.models import LogEntry
from penstock.things.users import list_emails


async def with_emails(conn: Connection, environment: str, lines: list[LogEntry]) -> list[LogEntry]:
    """The same lines, those of users who have an email with it."""
    ids = {line.user_id for line in lines if line.user_id is not None}
    if not ids:
        return lines
    emails = await list_emails(conn, environment=environment, ids=ids)
    return [
        line if line.user_id is None else line.model_copy(update={"user_email": emails.get(line.user_id)})
        for line in lines
    ]
