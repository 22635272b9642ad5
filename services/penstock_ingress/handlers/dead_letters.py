"""The verbs of the management API about dead letters: look at them, retry, discard and resolve them."""

from collections.abc import Mapping
from functools import partial
from typing import Final
from uuid import UUID

from penstock.contracts.messages import WakeScheduler
from penstock.domain import dead_letters as domain
from penstock.domain.dead_letters import LetterState, LetterVerb
from penstock.errors import BrokerUnavailable
from penstock.logs import get_logger
from penstock.runs.dead_letters import LetterAct, handle_letters
from penstock.runs.operations import OperationKind
from penstock.runs.views.dead_letters import Letter, LetterDetails, LetterPage, find_letter, list_letters
from penstock_ingress.handlers import operations
from penstock_ingress.handlers.pages import read_letter_filter, read_limit, read_run_token, write_token
from penstock_ingress.repository.views import Operation
from penstock_ingress.room import Room
from penstock_ingress.rules.dead_letters import LetterChoice
from penstock_ingress.rules.replies import Refusal, problem

log = get_logger(__name__)

_BY: Final = "the management API"
_KINDS: Final = {
    LetterVerb.RETRY: OperationKind.RETRY_LETTERS,
    LetterVerb.DISCARD: OperationKind.DISCARD_LETTERS,
    LetterVerb.RESOLVE: OperationKind.RESOLVE_LETTERS,
}


def ask(verb: LetterVerb, actor: str, note: str | None) -> LetterAct:
    """What a caller wants to be done."""
    return LetterAct(verb, actor, _BY, note)


async def show_letters(room: Room, environment: str, query: Mapping[str, str]) -> LetterPage:
    """Dead letters, newest first. Raises Refusal."""
    wanted, after, limit = read_letter_filter(environment, query), read_run_token(query), read_limit(query)
    async with room.database.connection() as conn:
        page = await list_letters(conn, wanted, after=after, limit=limit)
    return LetterPage(results=page.results, after=write_token(*page.after) if page.after else None)


async def show_letter(room: Room, environment: str, id: UUID) -> LetterDetails:
    """A dead letter with all that is kept of it. Raises Refusal."""
    async with room.database.connection() as conn:
        found = await find_letter(conn, id=id, environment=environment)
    if found is None:
        raise Refusal(problem(404, f"{environment} has no dead letter {id}"))
    return found


async def handle_letter(room: Room, environment: str, id: UUID, act: LetterAct) -> Letter:
    """Retry, discard or resolve one; a scheduler starts what is retried. Raises Refusal."""
    work = partial(handle_letters, act=act, environment=environment, ids=[id], is_audited=True)
    handled = await room.database.in_transaction(work)
    letter = (await show_letter(room, environment, id)).plain
    if not handled.ids:
        raise Refusal(problem(409, _why_not(letter, act.verb), extensions={"state": letter.state.value}))
    if handled.runs:
        try:
            await room.publisher.nudge(environment, WakeScheduler.model_construct())
        except BrokerUnavailable as error:  # schedulers find the run within a second
            log.warning("broker.unreachable", error=str(error))
    return letter


def _why_not(letter: Letter, verb: LetterVerb) -> str:
    if verb is LetterVerb.RETRY and letter.state is not LetterState.RETRIED and not letter.retryable:
        return (
            f"dead letter {letter.id} cannot be retried: the queue that it came from is unknown, or only its beginning "
            "is kept; send the message again, then resolve this"
        )
    possible = (
        "one that was retried is open again when it fails again"
        if verb is LetterVerb.RETRY
        else ("only an open one can be discarded or resolved")
    )
    return f"dead letter {letter.id} is {letter.state}; {possible}"


async def handle_many(room: Room, environment: str, verb: LetterVerb, wanted: LetterChoice, actor: str) -> Operation:
    """Retry, discard or resolve the open ones that meet the filter. Raises Refusal."""
    of = wanted.of(environment)
    if of.is_everything != wanted.all:
        detail = (
            f"this would {verb} all open dead letters of {environment}; narrow it down, or send all: true"
            if of.is_everything
            else "all: give either all: true or a filter"
        )
        raise Refusal(problem(422, detail))
    return await operations.begin(room, _KINDS[verb], domain.LetterChoice(of, wanted.note), actor)
