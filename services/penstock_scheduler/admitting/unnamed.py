"""Schedule messages without an id or key of their own. Three of them ask for three runs, even when they are the same.

The broker gives such a message an id when it arrives, and the scheduler binds that to the run, as it does with others.
Once the broker has confirmed the ack, the binding is forgotten. When the connection is lost between the commit and the
ack, the message comes again without that id: it is recognised by its content, if one binding of that content is left
whose ack was never confirmed. With several it cannot be decided, and a second run does less harm than none.
"""

import asyncio
import hashlib
from datetime import timedelta
from typing import Final

from penstock.contracts.envelope import IDEMPOTENCY_KEY, UNNAMED, UNNAMED_AGAIN, Message
from penstock.db import Database
from penstock.errors import DatabaseUnavailable
from penstock.logs import get_logger
from penstock.runs.idempotency import IdempotencyKey
from penstock_scheduler.repository.runs import forget_key, list_key_ages, rename_key

log = get_logger(__name__)

_SCOPE: Final = "unnamed"
_CONFIRMED_WITHIN: Final = timedelta(seconds=1)
_COMES_AGAIN_WITHIN: Final = timedelta(minutes=10)
"""Later it is taken for a new one, which may have the same content."""
_LOOK_EVERY_SECONDS: Final = 0.2
_LOOKS: Final = 15


def is_unnamed(message: Message) -> bool:
    """Whether its sender has given it neither an id nor a key."""
    return message.message_id.startswith((UNNAMED, UNNAMED_AGAIN)) and IDEMPOTENCY_KEY not in message.headers


def unnamed_key(message: Message) -> IdempotencyKey:
    """The key of such a message, in a scope that is that of its content."""
    headers = sorted((name, repr(value)) for name, value in message.headers.items())
    content = repr((message.type, message.correlation_id, message.reply_to, headers)).encode() + message.body
    scope = f"{_SCOPE} {hashlib.sha256(content).hexdigest()}"
    return IdempotencyKey(scope, message.message_id, hashlib.sha256(message.body).digest())


async def recognise(database: Database, environment: str, message: Message, key: IdempotencyKey) -> None:
    """Let a message that has come before have what was bound to it then."""
    if not message.message_id.startswith(UNNAMED_AGAIN):
        return
    ages: dict[str, timedelta] = {}
    for _ in range(_LOOKS):
        async with database.connection() as conn:
            ages = await list_key_ages(conn, environment=environment, scope=key.scope)
        if key.key in ages:
            return
        if all(age >= _CONFIRMED_WITHIN for age in ages.values()):
            break
        await asyncio.sleep(_LOOK_EVERY_SECONDS)  # that may be another message, whose ack is under way
    left = [known for known, age in ages.items() if _CONFIRMED_WITHIN <= age < _COMES_AGAIN_WITHIN]
    if len(ages) == len(left) == 1:
        async with database.connection() as conn:
            await rename_key(conn, environment=environment, scope=key.scope, old=left[0], new=key.key)


async def forget(database: Database, message: Message) -> None:
    """Its ack is confirmed, so it does not come again."""
    key = unnamed_key(message)
    try:
        async with database.connection() as conn:
            await forget_key(conn, scope=key.scope, key=key.key)
    except DatabaseUnavailable as error:  # it expires
        log.warning("database.unavailable", error=str(error))
