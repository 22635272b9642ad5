"""What a source's copies are known by, and whether the signature covers it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from penstock.definitions.models import Pick, Source

ID_LIFETIME: Final = timedelta(days=30)
"""How long an id is taken: longer than any sender tries again, or lets people send again by hand."""
_IDS: Final[Mapping[str, Pick]] = {"stripe": Pick(payload="id"), "github": Pick(header="X-GitHub-Delivery")}
"""The ids that schemes have of their own."""


def find_id(source: Source) -> Pick | None:
    """Where the id of a delivery stands; None when it has none, so that copies are known by their body."""
    return source.deduplicate or _IDS.get(source.scheme)


def is_id_signed(source: Source) -> bool:
    """Whether nobody but the sender can change the id of a delivery. The body is always signed."""
    pick = find_id(source)
    return pick is None or pick.header is None or (source.scheme == "hmac" and "{id}" in source.signed)


def is_time_signed(source: Source) -> bool:
    """Whether a delivery says, covered by its signature, when it was made."""
    return source.scheme == "stripe" or (
        source.scheme == "hmac" and source.timestamp is not None and "{timestamp}" in source.signed
    )
