"""Who steered what, and when. Whoever lets a person or a program steer notes the act in the same transaction, so that
there is neither without the other. What steps of workflows do is in the log instead, but for a step that stops a
chain: its actor is `run` and the id of its run.
"""

import os
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.db import Connection

ADMIN: Final = "admin"
"""The actor for a call of the management API with the admin token of the settings."""


class AuditAction(StrEnum):
    """What can be done: what it is done to, and the verb."""

    SETTINGS_SET = "settings.set"
    WEIGHTS_SET = "weights.set"
    CHAIN_STOP = "chain.stop"
    CHAIN_RESUME = "chain.resume"
    RUN_CANCEL = "run.cancel"
    RUN_RETRY = "run.retry"
    RECURRENCE_CREATE = "recurrence.create"
    RECURRENCE_DELETE = "recurrence.delete"
    RECURRENCE_PAUSE = "recurrence.pause"
    RECURRENCE_RESUME = "recurrence.resume"
    RECURRENCE_TRIGGER = "recurrence.trigger"
    RECURRENCE_BACKFILL = "recurrence.backfill"
    SCHEDULE_PAUSE = "schedule.pause"
    SCHEDULE_RESUME = "schedule.resume"
    SCHEDULE_MOVE = "schedule.move"
    SCHEDULE_CANCEL = "schedule.cancel"
    DELIVERY_REPLAY = "delivery.replay"
    DEAD_LETTER_RETRY = "dead-letter.retry"
    DEAD_LETTER_DISCARD = "dead-letter.discard"
    DEAD_LETTER_RESOLVE = "dead-letter.resolve"
    APP_DEPLOY = "app.deploy"
    APP_PROMOTE = "app.promote"
    SECRET_SET = "secret.set"
    SECRET_REMOVE = "secret.remove"
    SECRET_ROTATE = "secret.rotate"
    TOKEN_CREATE = "token.create"
    TOKEN_REVOKE = "token.revoke"
    DETECTED_ACCEPT = "detected.accept"
    SESSION_OPEN = "session.open"
    SESSION_END = "session.end"
    THINGS_IMPORT = "things.import"
    THINGS_EXPORT = "things.export"


class Act(NamedTuple):
    """One act. `subject` is the id or the name of what it was done to, empty when that is the environment itself.

    `before` and `after` are as much as says what has changed; never the value of a secret.
    """

    environment: str
    actor: str
    action: AuditAction
    subject: str = ""
    before: JsonValue = None
    after: JsonValue = None


async def note_acts(conn: Connection, acts: Sequence[Act]) -> None:
    """Note what somebody does in this transaction."""
    if acts:
        await conn.executemany(
            """
            INSERT INTO penstock.audit (environment, actor, action, subject, before, after)
            VALUES ($1, $2, $3, $4, $5, $6)
            """,
            [(act.environment, act.actor, act.action.value, act.subject, act.before, act.after) for act in acts],
        )


def name_cli_actor() -> str:
    """The actor for a command line: `cli:` and the name of the system's user, as the system knows it."""
    try:
        from pwd import getpwuid

        return f"cli:{getpwuid(os.getuid()).pw_name}"
    except ImportError:  # not a POSIX system
        return "cli:unknown"
    except KeyError:  # a container may run as a user without a name
        return f"cli:{os.getuid()}"
