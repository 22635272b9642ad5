"""Finds sources of webhooks that rely on something the signature does not cover, so that anybody may change it."""

from collections.abc import Iterator
from typing import NamedTuple

from penstock.definitions.models import App
from penstock.definitions.sources import Pick, Source
from penstock.webhooks.sources import is_id_signed, is_time_signed


class Unsigned(NamedTuple):
    """A source at `place` (`file:line`), what it relies on, and what its author can do."""

    source: str
    what: str
    hint: str
    place: str


def find_unsigned(app: App) -> Iterator[Unsigned]:
    """All such sources: those whose id is not signed, and those whose time is not."""
    for source in app.sources.values():
        # Of an id that the scheme has by itself nobody is warned: there is nothing that an author could do.
        pick = source.deduplicate
        if pick is not None and not is_id_signed(source):
            yield Unsigned(source.name, f"its id, {_name(pick)},", _hint(source, pick), source.place)
        if source.timestamp is not None and not is_time_signed(source):
            hint = "an old request can be sent again with a new time; sign {timestamp}"
            yield Unsigned(source.name, f"its time, the header {source.timestamp.header},", hint, source.place)


def _name(pick: Pick) -> str:
    return f"{pick.payload} in the payload" if pick.header is None else f"the header {pick.header}"


def _hint(source: Source, pick: Pick) -> str:
    known = "copies are known by what is signed too, so a replay is not new"
    if pick.header is None:
        return f"{known}; leave `deduplicate` out, and the scheme's own id is taken"
    better = "sign {id}, or " if source.scheme == "hmac" else ""
    return f"{known}; if the sender can, {better}take an id from the payload: `deduplicate: {{payload: …}}`"
