"""Makes tokens, lists those that hold, and ends them."""

from collections.abc import Mapping
from uuid import UUID

from penstock.domain.callers import Caller, Role
from penstock.domain.durations import parse_duration
from penstock.store.tokens import NewToken, create_token, list_tokens, revoke_token
from penstock.things.users import find_user
from penstock_ingress.handlers.pages import read_limit, read_run_token, write_token
from penstock_ingress.repository.views import MadeToken, Token, TokenPage
from penstock_ingress.room import Room
from penstock_ingress.rules.management import WantedToken
from penstock_ingress.rules.replies import Refusal, problem


async def make_token(room: Room, environment: str, wanted: WantedToken, caller: Caller) -> MadeToken:
    """A new token that holds in this environment. Raises Refusal."""
    if caller.workflows is not None or caller.types is not None:
        raise Refusal(problem(403, "a token with a scope cannot make others"))
    if wanted.user is not None and not caller.sees_payloads:
        raise Refusal(problem(403, "a token without sight of payloads cannot make those of users"))
    async with room.database.connection() as conn:
        user = None if wanted.user is None else await find_user(conn, environment=environment, who=wanted.user)
    if wanted.user is not None and user is None:
        raise Refusal(problem(422, f"user: {environment} has no user with this id or email"))
    asked = NewToken(
        role=None if user is not None else Role(wanted.role or Role.ADMIN),
        user_id=user,
        environment=environment,
        label=wanted.label,
        workflows=wanted.workflows,
        types=wanted.types,
        sees_payloads=wanted.payloads and caller.sees_payloads,
        lifetime=None if wanted.expires is None else parse_duration(wanted.expires),
    )
    token, stored = await room.database.in_transaction(lambda conn: create_token(conn, asked, actor=caller.name))
    return MadeToken(**stored.shown(), token=token)


async def show_tokens(room: Room, environment: str, query: Mapping[str, str]) -> TokenPage:
    """The tokens that hold in this environment, newest first. Raises Refusal."""
    limit, after = read_limit(query), read_run_token(query)
    async with room.database.connection() as conn:
        found = await list_tokens(conn, environment=environment, after=after, limit=limit + 1)
    page = found[:limit]
    return TokenPage(
        results=[Token(**token.shown()) for token in page],
        after=write_token(page[-1].created_at, page[-1].id) if len(found) > limit else None,
    )


async def end_token(room: Room, environment: str, id: UUID, caller: Caller) -> Token:
    """Revoke a token. Raises Refusal when none has this id that holds here and nowhere else than the caller's own."""
    revoked = await room.database.in_transaction(
        lambda conn: revoke_token(
            conn, id=id, environment=environment, is_alone=caller.environment is not None, actor=caller.name
        )
    )
    if revoked is None:
        alone = "" if caller.environment is None else " alone"
        raise Refusal(problem(404, f"no token that holds in {environment}{alone} has the id {id}"))
    return Token(**revoked.shown())
