"""The recipients of an `email` step: addresses, things with an `email`, ids of users, `{name, email}`, or lists of
these.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.domain.mail_addresses import Address, make_address, parse_addresses
from penstock.errors import Permanent
from penstock.expressions.language import describe_type
from penstock.things.records import Window, find_things
from penstock_executor.steps.arguments import data_type, wrong
from penstock_executor.steps.specs import Call

FIELDS: Final = ("to", "cc", "bcc", "reply_to")
MAX_RECIPIENTS: Final = 50
"""Of one mail, copies included: what the services take, and more than anybody should see of the others."""
_USER_ID: Final = re.compile(r"\d{1,20}x\d{1,40}", re.ASCII)


class Recipients(NamedTuple):
    """The addresses of a mail by field."""

    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]


async def read_recipients(call: Call) -> Recipients:
    """All addresses of a step. Raises Permanent for none or too many, and for a bad one, with field and address."""
    given = {field: call.target if field == "to" else call.arguments.get(field) for field in FIELDS}
    users = await _find_users(call, list(given.values()))
    found = {field: tuple(_read(call, field, value, users)) for field, value in given.items()}
    recipients = Recipients(found["to"], found["cc"], found["bcc"], found["reply_to"])
    if not recipients.to:
        raise wrong(call, "there are no recipients: `email` is empty")
    count = len(recipients.to) + len(recipients.cc) + len(recipients.bcc)
    if count > MAX_RECIPIENTS:
        hint = "use `schedule_list` to write to each alone: nobody sees the others, and a failure stops only its own"
        raise wrong(call, f"a mail goes to at most {MAX_RECIPIENTS} addresses, and this one to {count}; {hint}")
    return recipients


def _read(call: Call, field: str, value: JsonValue, users: dict[str, JsonValue]) -> Iterator[Address]:
    match value:
        case None:
            return
        case str() if _USER_ID.fullmatch(value):
            if value not in users:
                raise wrong(call, f"`{field}`: there is no user {value}")
            yield from _read(call, field, users[value], users)
        case str():
            yield from _parse(call, field, value)
        case list():
            for item in value:
                yield from _read(call, field, item, users)
        case dict():
            yield _read_object(call, field, value)
        case _:
            raise wrong(
                call, f"`{field}` has to be a mail address, a user, or a list of them, and it is {describe_type(value)}"
            )


def _parse(call: Call, field: str, text: str) -> tuple[Address, ...]:
    try:
        return parse_addresses(text)
    except ValueError as error:
        raise _refuse(call, field, error) from None


def _read_object(call: Call, field: str, value: dict[str, JsonValue]) -> Address:
    """A thing, which has an `email`, or `{name, email}`."""
    email, name = value.get("email"), value.get("name")
    if not isinstance(email, str) or not email.strip():
        who = f"the thing {value['_id']}" if "_id" in value else "the address"
        raise wrong(call, f"`{field}`: {who} has no `email`")
    try:
        return make_address(name if isinstance(name, str) and "_id" not in value else "", email)
    except ValueError as error:
        raise _refuse(call, field, error) from None


async def _find_users(call: Call, values: list[JsonValue]) -> dict[str, JsonValue]:
    """The users whose ids are given, by id."""
    ids = sorted(set(_list_ids(values)))
    if not ids:
        return {}
    if len(ids) > MAX_RECIPIENTS:
        raise wrong(call, f"a mail goes to at most {MAX_RECIPIENTS} addresses, and this one to {len(ids)} users")
    where: list[JsonValue] = [{"key": "_id", "constraint_type": "in", "value": list[JsonValue](ids)}]
    async with call.tools.database.connection() as conn:
        page = await find_things(
            conn,
            environment=call.run.environment,
            data_type=data_type(call, "user"),
            where=where,
            window=Window(len(ids)),
        )
    return {str(user["_id"]): user for user in page.results}


def _list_ids(value: JsonValue) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _list_ids(item)
    elif isinstance(value, str) and _USER_ID.fullmatch(value):
        yield value


def _refuse(call: Call, field: str, error: ValueError) -> Permanent:
    return wrong(call, f"`{field}`: {error}")
