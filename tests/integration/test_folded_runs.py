"""The runs of a node of a chain's picture, listed without the picture: the same that it folds into the node."""

import random
from uuid import UUID, uuid4

from penstock.db import Connection
from penstock.domain.ids import child_run_id, new_run_id
from penstock.domain.pictures import Picture
from penstock.runs.views.folded import FoldPlace, list_folded
from penstock.runs.views.pictures import read_picture

STATES = ("succeeded", "failed", "cancelled")
RUNS = 400
DEPTH = 6
_INSERT = """
    INSERT INTO penstock.runs (
        id, chain_id, parent_run_id, environment, workflow, trigger, state, depth, scheduled_at, finished_at
    )
    SELECT q.id, $1, q.parent, 'live', q.workflow, 'run', q.state, q.depth, now(), now()
    FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::int[]) AS q (id, parent, workflow, state, depth)
"""


async def store_chain(conn: Connection, seed: int) -> tuple[UUID, list[UUID]]:
    """A chain of few workflows and states, some of whose runs have ids elsewhere, as keys of authors give; its runs."""
    chance = random.Random(seed)
    root = new_run_id()
    runs: list[tuple[UUID, UUID | None, str, str, int]] = [(root, None, "start", "succeeded", 0)]
    while len(runs) < RUNS:
        parent, _, _, _, depth = chance.choice(runs)
        id: UUID = UUID(int=chance.getrandbits(128)) if chance.random() < 0.1 else child_run_id(parent, str(len(runs)))
        if depth < DEPTH:
            runs.append((id, parent, chance.choice("ab"), chance.choice(STATES), depth + 1))
    await conn.execute(_INSERT, root, *(list(column) for column in zip(*runs, strict=True)))
    return root, [run[0] for run in runs]


async def list_all(conn: Connection, chain_id: UUID, run_id: UUID, limit: int) -> list[UUID]:
    found: list[UUID] = []
    after: FoldPlace | None = None
    while True:
        page = await list_folded(conn, chain_id=chain_id, run_id=run_id, after=after, limit=limit)
        assert page is not None
        assert len(page.results) <= limit
        found += [run.id for run in page.results]
        if (after := page.after) is None:
            return found


def members_of(picture: Picture, run_id: UUID, runs: list[UUID]) -> list[UUID]:
    node = picture.find_fold(run_id)
    return sorted((id for id in runs if picture.find_fold(id) is node), key=lambda id: id.bytes)


async def test_a_node_has_the_runs_that_the_picture_folds_into_it(conn: Connection) -> None:
    root, runs = await store_chain(conn, 16)
    await store_chain(conn, 17)
    async with conn.transaction():
        picture = await read_picture(conn, chain_id=root)
    for run_id in runs[::9]:
        for limit in (3, 500):
            assert await list_all(conn, root, run_id, limit) == members_of(picture, run_id, runs), (run_id, limit)
    assert await list_folded(conn, chain_id=root, run_id=uuid4(), after=None, limit=5) is None
