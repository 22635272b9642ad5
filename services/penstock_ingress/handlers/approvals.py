"""What a link of `wait_for` leads to, and the answer that somebody gives with it: once, to the run that waits."""

from collections.abc import Mapping
from functools import partial

from penstock.definitions.approval_forms import read_answer, read_form
from penstock.domain.approval_links import LinkTarget, read_link
from penstock.runs.approvals import Asked, LinkState, answer_link, find_asked
from penstock_ingress.room import Room
from penstock_ingress.rules.approval_pages import say_early, say_over, say_thanks, say_unknown, show_form
from penstock_ingress.rules.replies import Reply


async def show_asked(room: Room, environment: str, token: str) -> Reply:
    """The form of a link that is open, else why it is not. Changes nothing."""
    found = await _find(room, environment, token)
    if isinstance(found, Reply):
        return found
    _, asked = found
    return show_form(asked.name, read_form(asked.schema))


async def answer_asked(room: Room, environment: str, token: str, given: Mapping[str, str]) -> Reply:
    """Take the answer: of those that are sent at the same time, one. What is wrong with it is shown in the form."""
    found = await _find(room, environment, token)
    if isinstance(found, Reply):
        return found
    target, asked = found
    fields = read_form(asked.schema)
    answer = read_answer(fields, given)
    if answer.problems:
        return show_form(asked.name, fields, given=given, problems=answer.problems)
    woken = await room.database.in_transaction(partial(answer_link, target=target, payload={**answer.values}))
    if not woken:
        return say_over()
    room.acceptance.dispatch(woken)
    return say_thanks()


async def _find(room: Room, environment: str, token: str) -> tuple[LinkTarget, Asked] | Reply:
    """The step of a link that is open, and what it asks for; else the page that says why not."""
    target = read_link(await room.installation.find_key(), environment, token)
    if target is None:
        return say_unknown()
    async with room.database.connection() as conn:
        asked = await find_asked(conn, target)
    match asked.state:
        case LinkState.OPEN:
            return target, asked
        case LinkState.EARLY:
            return say_early()
        case LinkState.OVER:
            return say_over()
