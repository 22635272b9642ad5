"""Pages of what is listed: by the place of the last result (keyset), so that no page costs more than another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item, Place]):
    """Some results. `after` is the place of the last one when there are more behind it, else None."""

    results: list[Item]
    after: Place | None


def make_page(found: Sequence[Item], limit: int, place: Callable[[Item], Place]) -> Page[Item, Place]:
    """The page of the first `limit` of what was found. One more has to be looked for, to know whether there is more."""
    results = list(found[:limit])
    return Page(results, place(results[-1]) if len(found) > limit and results else None)
