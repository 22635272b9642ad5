"""Ids on the command line: whole, or any prefix of eight or more characters that only one has.

A parameter declares what it names with one of the parsers here. `add_prefixes` has prefixes looked up before a command
is called, so that commands know whole ids only.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Final
from uuid import UUID

import typer
from typer.core import TyperCommand, TyperGroup

from penstock.cli.access import open_installation
from penstock.cli.repository import find_ids
from penstock.errors import Permanent

_MIN_DIGITS: Final = 8
_ID_DIGITS: Final = 32
_MAX_SHOWN: Final = 3

Command = TyperCommand | TyperGroup


@dataclass(frozen=True, slots=True)
class IdPrefix:
    """The beginning of an id, as it was given, and the kinds of thing that it may name."""

    text: str
    kinds: tuple[str, ...]

    @property
    def digits(self) -> str:
        return self.text.replace("-", "").lower()


def _make_parser(*kinds: str) -> Callable[[str], UUID | IdPrefix]:
    def parse(text: str) -> UUID | IdPrefix:
        digits = text.replace("-", "")
        if re.fullmatch(f"[0-9a-fA-F]{{{_MIN_DIGITS},{_ID_DIGITS}}}", digits) is None:
            raise typer.BadParameter(
                f"{text[:60]!r} is not an id; give it whole, or its first {_MIN_DIGITS} characters or more"
            )
        return UUID(digits) if len(digits) == _ID_DIGITS else IdPrefix(text, kinds)

    parse.__name__ = "id"  # what help shows as the type
    return parse


parse_run_id = _make_parser("run")
parse_chain_id = _make_parser("chain")
parse_list_id = _make_parser("list")
parse_recurrence_id = _make_parser("recurrence")
parse_token_id = _make_parser("token")
parse_delivery_id = _make_parser("delivery")
parse_letter_id = _make_parser("dead letter")
parse_any_id = _make_parser("run", "recurrence", "list")


def parse_recurrence_or_cron(text: str) -> UUID | IdPrefix | str:
    """The id of a recurrence, or else the text, which is then a cron expression: none of them is hexadecimal."""
    try:
        return parse_recurrence_id(text)
    except typer.BadParameter:
        return text


parse_recurrence_or_cron.__name__ = "text"


def add_prefixes(command: Command) -> None:
    """Let every command below `command` take prefixes of ids."""
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            assert isinstance(inner, TyperCommand | TyperGroup), "typer makes no others"
            add_prefixes(inner)
    if command.callback is not None:
        command.callback = _with_whole_ids(command.callback)


def _with_whole_ids(callback: Callable[..., object]) -> Callable[..., object]:
    @wraps(callback)
    def call(**given: object) -> object:
        prefixes = {prefix for value in given.values() for prefix in _find_prefixes(value)}
        if prefixes:
            data = given.get("data")
            whole = asyncio.run(_look_up(prefixes, data if isinstance(data, Path) else None))
            given = {name: _replace(value, whole) for name, value in given.items()}
        return callback(**given)

    return call


def _find_prefixes(value: object) -> list[IdPrefix]:
    values = value if isinstance(value, list | tuple) else [value]
    return [one for one in values if isinstance(one, IdPrefix)]


def _replace(value: object, whole: Mapping[IdPrefix, UUID]) -> object:
    if isinstance(value, IdPrefix):
        return whole[value]
    return [_replace(one, whole) for one in value] if isinstance(value, list | tuple) else value


async def _look_up(prefixes: set[IdPrefix], data: Path | None) -> dict[IdPrefix, UUID]:
    """The whole id of each prefix. Raises Permanent when there is none, or more than one."""
    whole: dict[IdPrefix, UUID] = {}
    async with open_installation(data) as database, database.connection() as conn:
        for prefix in prefixes:
            first, last = (UUID(prefix.digits.ljust(_ID_DIGITS, filler)) for filler in "0f")
            found = await find_ids(conn, first=first, last=last, kinds=prefix.kinds, limit=_MAX_SHOWN + 1)
            if len(found) != 1:
                raise Permanent(_describe(prefix, found))
            whole[prefix] = found[0]
    return whole


def _describe(prefix: IdPrefix, found: list[UUID]) -> str:
    if not found:
        return f"no {' or '.join(prefix.kinds)} has an id that begins with {prefix.text}"
    more = ", …" if len(found) > _MAX_SHOWN else ""
    shown = ", ".join(str(id) for id in found[:_MAX_SHOWN])
    return f"more than one id begins with {prefix.text}: {shown}{more}; give more of it"
