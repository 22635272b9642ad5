"""`penstock token`: credentials of people and programs that call the two HTTP APIs."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from penstock.cli.access import Environment, open_installation
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_token_id
from penstock.cli.output import (
    AsJson,
    console,
    fail,
    make_table,
    print_json,
    print_json_list,
    print_table,
    say,
    show_text,
    show_time,
)
from penstock.domain.callers import Role
from penstock.domain.durations import parse_duration
from penstock.storable import is_storable
from penstock.store.audit import name_cli_actor
from penstock.store.tokens import NewToken, StoredToken, create_token, list_made_tokens, list_tokens, revoke_token
from penstock.things.users import find_user

_MAX_LISTED: Final = 10_000
_MAX_LABEL: Final = 100
_CREATE_EXAMPLES: Final = """Examples:

  penstock token create --label "ops laptop"                     everything, in both environments

  penstock token create --role viewer -e live --no-payloads --expires 30d

  penstock token create --role operator --workflow charge --workflow refund

  penstock token create --user ada@example.com -e live           for a user of the app

The token is shown this once; only its hash is kept."""
_LIST_EXAMPLES: Final = "Examples:\n\n  penstock token list\n\n  penstock token list --json | jq -r '.results[].id'"
_REVOKE_EXAMPLES: Final = "Examples:\n\n  penstock token revoke 0190a5f2"

Where = Annotated[
    Environment | None,
    typer.Option("--environment", "-e", help="Where it holds.", show_default="both; for a user development"),
]


def add_commands(program: typer.Typer) -> None:
    """Add the group `token`."""
    group = typer.Typer(help="Make, list and revoke tokens.", no_args_is_help=True)
    group.command("create", epilog=_CREATE_EXAMPLES)(create)
    group.command("list", epilog=_LIST_EXAMPLES)(list_)
    group.command("revoke", epilog=_REVOKE_EXAMPLES)(revoke)
    program.add_typer(group, name="token", rich_help_panel="Operate")


def create(
    user: Annotated[str | None, typer.Option(help="For a user of the app: _id or email.", show_default=False)] = None,
    role: Annotated[
        Role | None, typer.Option(help="What its bearer may do: look, also act, or everything.", show_default="admin")
    ] = None,
    environment: Where = None,
    label: Annotated[str, typer.Option(help="Who or what bears it; the audit names it.", show_default=False)] = "",
    expires: Annotated[
        str | None, typer.Option(help="How long it holds, such as 30d.", show_default="until revoked; for a user 1d")
    ] = None,
    workflow: Annotated[list[str] | None, typer.Option(help="Reaches only this; repeatable.")] = None,
    type: Annotated[list[str] | None, typer.Option(help="Reaches only this data type; repeatable.")] = None,
    payloads: Annotated[bool, typer.Option(help="Whether its bearer sees parameters, results and errors.")] = True,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it."""
    if user is not None and not (role is None and not workflow and not type and payloads):
        raise typer.BadParameter("a user's token has no role, no scope and no --no-payloads", param_hint="--user")
    if len(label) > _MAX_LABEL:
        raise typer.BadParameter(f"at most {_MAX_LABEL} characters", param_hint="--label")
    _check_names("--user", [] if user is None else [user])
    _check_names("--label", [label] if label else [])
    _check_names("--workflow", workflow or [])
    _check_names("--type", type or [])
    wanted = NewToken(
        role=None if user is not None else role or Role.ADMIN,
        environment=None if environment is None else environment.value,
        label=label,
        workflows=workflow or None,
        types=type or None,
        sees_payloads=payloads,
        lifetime=None if expires is None else _read_lifetime(expires),
    )
    token, stored = asyncio.run(_create(wanted, user, data))
    if as_json:
        print_json({**stored.shown(), "token": token})
        return
    say(token)
    say(f"token {stored.id} of {_bearer(stored)}, {_until(stored)}; it is not shown again", is_error=True)


def _check_names(option: str, names: Iterable[str]) -> None:
    """An empty name, as an unset variable of a shell gives it, must not look like a limit that is none."""
    for name in names:
        if not name or not is_storable(name):
            raise typer.BadParameter("this is empty, or not text in UTF-8", param_hint=option)


def _read_lifetime(text: str) -> timedelta:
    try:
        lifetime = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from None
    if not lifetime:
        raise typer.BadParameter("a token has to hold for longer than that", param_hint="--expires")
    return lifetime


async def _create(wanted: NewToken, user: str | None, data: Path | None) -> tuple[str, StoredToken]:
    async with open_installation(data) as database:
        if user is not None:
            environment = wanted.environment or Environment.DEVELOPMENT.value
            async with database.connection() as conn:
                user_id = await find_user(conn, environment=environment, who=user)
            if user_id is None:
                fail(f"{environment} has no user with the id or email {user!r}, or several")
            wanted = NewToken(user_id=user_id, environment=environment, label=wanted.label, lifetime=wanted.lifetime)
        return await database.in_transaction(partial(create_token, wanted=wanted, actor=name_cli_actor()))


def list_(
    environment: Where = None,
    sessions: Annotated[bool, typer.Option("--sessions", help="With those of users who have logged in.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the tokens that hold, the newest first."""
    found = asyncio.run(_list(environment, data, has_sessions=sessions))
    if as_json:
        print_json_list([token.shown() for token in found])
        return
    table = make_table(
        "id", "bearer", "environment", "reaches", "expires", "last used", droppable=("last used", "expires", "reaches")
    )
    for token in found:
        table.add_row(
            str(token.id), show_text(_bearer(token)), token.environment or "both", show_text(_reach(token)),
            "" if token.expires_at is None else show_time(token.expires_at),
            "never" if token.last_used_at is None else show_time(token.last_used_at),
        )  # fmt: skip
    if found:
        print_table(table)
    else:
        console.print("there is no token but PENSTOCK_ADMIN_TOKEN, if that is set")


async def _list(environment: Environment | None, data: Path | None, *, has_sessions: bool) -> list[StoredToken]:
    read = list_tokens if has_sessions else list_made_tokens
    async with open_installation(data) as database, database.connection() as conn:
        return await read(conn, environment=environment and environment.value, limit=_MAX_LISTED)


def revoke(
    id: Annotated[UUID, typer.Argument(metavar="ID", help="Its id.", show_default=False, parser=parse_token_id)],
    data: Data = None,
) -> None:
    """End a token at once: every process refuses it from now on."""
    revoked = asyncio.run(_revoke(id, data))
    if revoked is None:
        fail(f"no token that holds has the id {id}")
    console.print(f"[green]revoked[/] {revoked.id} of {show_text(_bearer(revoked))}")


async def _revoke(id: UUID, data: Path | None) -> StoredToken | None:
    async with open_installation(data) as database:
        return await database.in_transaction(partial(revoke_token, id=id, actor=name_cli_actor()))


def _bearer(token: StoredToken) -> str:
    who = f"user {token.user_id}" if token.role is None else token.role.value
    return f"{who}: {token.label}" if token.label else who


def _reach(token: StoredToken) -> str:
    names = [*(token.workflows or ()), *(token.types or ())]
    reach = "everything" if token.workflows is None and token.types is None else ", ".join(names)
    return reach if token.sees_payloads else f"{reach}, no payloads"


def _until(token: StoredToken) -> str:
    return "until it is revoked" if token.expires_at is None else f"until {show_time(token.expires_at)}"
