"""`penstock secret`: what apps see as `secrets.NAME`. Values come from standard input or a prompt, and are never shown
again.
"""

import asyncio
import re
import sys
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from penstock.cli.access import Environment, find_keyring, open_installation
from penstock.cli.database import Data
from penstock.cli.output import (
    AsJson,
    complain,
    console,
    fail,
    make_table,
    print_json,
    print_json_list,
    print_table,
    show_time,
)
from penstock.encryption import Keyring
from penstock.redaction import MIN_REDACTED
from penstock.store.audit import name_cli_actor
from penstock.store.secrets import (
    NewSecret,
    StoredSecret,
    find_unreadable,
    list_secrets,
    remove_secret,
    rotate_secrets,
    set_secret,
)

MAX_BYTES: Final = 64 * 1024
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SET_EXAMPLES: Final = """Examples:

  penstock secret set OPENAI_KEY                       asks for the value

  penstock secret set OPENAI_KEY -e live < key.txt     reads it from a file; a line break at its end is dropped

Ingress and executors see it within a few seconds; runs that have begun keep what they began with."""
_LIST_EXAMPLES: Final = (
    "Examples:\n\n  penstock secret list\n\n  penstock secret list -e live --json | jq -r '.results[].name'"
)
_REMOVE_EXAMPLES: Final = "Examples:\n\n  penstock secret remove OPENAI_KEY --environment live"
_ROTATE_EXAMPLES: Final = """Examples:

  penstock secret rotate

To change the key: put the new one, a comma and the old one into PENSTOCK_SECRET_KEY, of every service and here; \
rotate; take the old one out."""

Name = Annotated[str, typer.Argument(help="As in secrets.NAME.", show_default=False)]
In = Annotated[Environment, typer.Option("--environment", "-e", help="The environment.")]
Where = Annotated[
    Environment | None, typer.Option("--environment", "-e", help="Only of this one.", show_default="both")
]


def add_commands(program: typer.Typer) -> None:
    """Add the group `secret`."""
    group = typer.Typer(help="Store the secrets of apps, encrypted.", no_args_is_help=True)
    group.command("set", epilog=_SET_EXAMPLES)(set_)
    group.command("list", epilog=_LIST_EXAMPLES)(list_)
    group.command("remove", epilog=_REMOVE_EXAMPLES)(remove)
    group.command("rotate", epilog=_ROTATE_EXAMPLES)(rotate)
    program.add_typer(group, name="secret", rich_help_panel="Operate")


def set_(name: Name, environment: In = Environment.DEVELOPMENT, data: Data = None) -> None:
    """Set a secret, in place of the one that is there."""
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(
            "use letters, digits and _, so that secrets.NAME works in expressions", param_hint="NAME"
        )
    value = _read_value(name)
    asyncio.run(_set(name, environment, value, data))
    console.print(f"[green]set[/] {name} in {environment}")
    if len(value) < MIN_REDACTED:
        complain(
            f"{name} is shorter than {MIN_REDACTED} characters: it is not looked for in logs and results, which "
            "take longer ones out"
        )


def _read_value(name: str) -> str:
    """From a person without showing it, or else all of standard input."""
    if sys.stdin.isatty():
        value: str = typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True)
    else:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        try:
            value = raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            fail("a secret is text in UTF-8, and this is not; encode it first, for example as base64")
        if len(raw) > MAX_BYTES:
            fail(f"a secret has at most {MAX_BYTES} bytes")
    if not value:
        fail(f"the value is empty; pipe it in, or run this in a terminal; `penstock secret remove {name}` removes one")
    if "\x00" in value:
        fail("a secret is text, and this holds a NUL; encode it first, for example as base64")
    return value


async def _set(name: str, environment: Environment, value: str, data: Path | None) -> None:
    keyring = find_keyring(data)
    secret = NewSecret(environment, name, value)
    async with open_installation(data) as database:
        await database.in_transaction(partial(set_secret, secret=secret, keyring=keyring, actor=name_cli_actor()))


@dataclass(frozen=True, slots=True)
class _Shown:
    environment: str
    name: str
    set_at: datetime
    key_id: str
    is_readable: bool


def list_(environment: Where = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the names of stored secrets. Values are never shown."""
    shown = [secret for secret in asyncio.run(_list(data)) if environment in {None, secret.environment}]
    if as_json:
        print_json_list(shown)
        return
    table = make_table("environment", "name", "set", "key", "", droppable=("set",))
    for secret in shown:
        note = "" if secret.is_readable else "[red]PENSTOCK_SECRET_KEY does not hold this key[/]"
        table.add_row(secret.environment, secret.name, show_time(secret.set_at), secret.key_id, note)
    if shown:
        print_table(table)
    else:
        console.print("no secret is stored")


async def _list(data: Path | None) -> list[_Shown]:
    keyring = find_keyring(data, is_required=False)
    async with open_installation(data) as database, database.connection() as conn:
        stored = await list_secrets(conn)
    unreadable = {secret.place for secret in find_unreadable(stored, keyring)}
    return [
        _Shown(one.environment, one.name, one.set_at, one.sealed.key_id, one.place not in unreadable) for one in stored
    ]


def remove(name: Name, environment: In = Environment.DEVELOPMENT, data: Data = None) -> None:
    """Forget a secret. What needs it fails from then on, and says so."""
    if not asyncio.run(_remove(name, environment, data)):
        fail(f"{environment} has no stored secret {name}; `penstock secret list` lists them")
    console.print(f"[green]removed[/] {name} from {environment}")


async def _remove(name: str, environment: Environment, data: Path | None) -> bool:
    async with open_installation(data) as database:
        remove = partial(remove_secret, environment=environment, name=name, actor=name_cli_actor())
        return await database.in_transaction(remove)


def rotate(data: Data = None, as_json: AsJson = False) -> None:
    """Encrypt all secrets again, with the first key of PENSTOCK_SECRET_KEY."""
    keyring = find_keyring(data)
    rotated = asyncio.run(_rotate(keyring, data))
    if as_json:
        print_json(
            {
                "key": keyring.first_id,
                "rotated": [{"environment": one.environment, "name": one.name} for one in rotated],
            }
        )
    else:
        console.print(
            f"{len(rotated)} encrypted again with the key {keyring.first_id}; no secret needs another key now"
        )


async def _rotate(keyring: Keyring, data: Path | None) -> list[StoredSecret]:
    async with open_installation(data) as database:
        return await database.in_transaction(partial(rotate_secrets, keyring=keyring, actor=name_cli_actor()))
