"""What holds for one source: its row of the table, as its author has completed it.

What its copies are known by, and whether the proof covers that; for the schemes that are named after nobody (`hmac`,
`token`), also what is proved.
"""

from datetime import timedelta
from typing import Final

from penstock.definitions.sources import Pick, Source, SourceTimestamp
from penstock.webhooks.provider_table import PROVIDERS
from penstock.webhooks.recipes import Certified, Proof, Provider, Recipe, Token, WebToken, Where

ID_LIFETIME: Final = timedelta(days=30)
"""How long an id is taken: longer than any sender tries again, or lets people send again by hand."""
BODY_SECONDS: Final = 24 * 3600.0
"""How long the same body is a copy, where nothing that is signed says when it was sent."""


def provider_of(source: Source) -> Provider:
    """The row of a source's scheme."""
    return PROVIDERS[source.scheme]


def list_proofs(source: Source) -> tuple[Proof, ...]:
    """What a request has to show, any of these."""
    if source.scheme == "hmac":
        return (_read_recipe(source),)
    if source.scheme == "token":
        is_bare = source.header is not None
        return (Token(source.header or "Authorization", source.prefix if is_bare else source.prefix or "Bearer "),)
    return provider_of(source).proofs


def tolerance_of(source: Source, proof: Proof) -> float:
    """How far the time of a request may be off in either direction, in seconds."""
    if source.tolerance_seconds is not None:
        return source.tolerance_seconds
    return proof.tolerance_seconds if isinstance(proof, Recipe | Certified | WebToken) else 0.0


def find_ids(source: Source) -> tuple[tuple[Where, ...], ...]:
    """Where the id of a delivery stands: alternatives, each a list of places. Empty when it has none, so that copies
    are known by their body.
    """
    return ((_where(source.deduplicate),),) if source.deduplicate is not None else provider_of(source).ids


def find_types(source: Source) -> tuple[Where, ...]:
    """Where the type of a delivery stands: alternatives."""
    return (_where(source.type),) if source.type is not None else provider_of(source).types


def is_id_signed(source: Source) -> bool:
    """Whether nobody but the sender can change the id of a delivery; so it is where nothing is signed, because who can
    send at all can send anything.
    """
    recipes = [proof for proof in list_proofs(source) if isinstance(proof, Recipe | Certified)]
    pick = source.deduplicate
    if pick is None or not recipes:
        return not recipes or provider_of(source).is_id_signed
    return all(_covers(recipe, _where(pick)) for recipe in recipes)


def is_time_signed(source: Source) -> bool:
    """Whether a delivery says, covered by its signature, when it was made."""
    return any(
        isinstance(proof, Certified) or (isinstance(proof, Recipe) and is_time_covered(proof))
        for proof in list_proofs(source)
    )


def is_time_covered(recipe: Recipe) -> bool:
    """Whether nobody but the sender can change the time."""
    if recipe.time is None:
        return False
    return "{timestamp}" in recipe.signed or (recipe.time.payload is not None and recipe.covers_body)


def _covers(proof: Recipe | Certified, where: Where) -> bool:
    if isinstance(proof, Certified):
        return proof.kind == "sns" and where.payload is not None
    if where.payload is not None and proof.covers_body:
        return True
    return where == proof.id and "{id}" in proof.signed


def _where(pick: Pick) -> Where:
    return Where(header=pick.header, payload=pick.payload)


def _read_recipe(source: Source) -> Recipe:
    timestamp, id = source.timestamp, source.deduplicate
    return Recipe(
        header=source.header or "",
        signed=source.signed,
        prefix=source.prefix,
        algorithm=source.algorithm,
        encoding=source.encoding,
        key=source.key,
        time=_time(timestamp) if timestamp else None,
        tolerance_seconds=timestamp.tolerance_seconds if timestamp else 0.0,
        id=Where(header=id.header) if id is not None and id.header is not None else None,
    )


def _time(timestamp: SourceTimestamp) -> Where:
    return Where(part=timestamp.prefix) if timestamp.prefix else Where(header=timestamp.header)
