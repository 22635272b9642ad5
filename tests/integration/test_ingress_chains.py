"""Chains as pictures, over real HTTP: folded, bounded, and opened node by node."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import cast
from uuid import UUID

import pytest

from penstock.runs.views.chains import MAX_LOOKED
from tests.integration.ingress import Ingress, sharing_ingress, write_app
from tests.servers import Servers

ROOT = UUID(int=1)
LARGE_ROOT = UUID(int=1 << 64)
_INSERT = """
    INSERT INTO penstock.runs (
        id, chain_id, parent_run_id, environment, workflow, trigger, state, depth, scheduled_at, finished_at, error
    )
    SELECT q.id, $1, q.parent, 'live', q.workflow, 'run', q.state, q.depth, now(), now(), q.error
"""
_LINE = f"""{_INSERT} FROM (
    SELECT ('00000000-0000-0000-0000-' || lpad((n + 1)::text, 12, '0'))::uuid AS id,
           CASE WHEN n > 0 THEN ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid END AS parent,
           CASE n WHEN 0 THEN 'start' ELSE (ARRAY['other', 'create'])[n % 2 + 1] END AS workflow,
           CASE n WHEN 11 THEN 'terminated' ELSE 'succeeded' END AS state, n AS depth,
           CASE n WHEN 11 THEN '{{"kind": "depth_limit"}}'::jsonb END AS error
    FROM generate_series(0, 11) n
) q"""
_LARGE = f"""{_INSERT} FROM (
    SELECT CASE n WHEN 0 THEN $1 ELSE md5(n::text)::uuid END AS id,
           CASE WHEN n > 10000 THEN md5((n - 10000)::text)::uuid WHEN n > 0 THEN $1 END AS parent,
           'level' || (hashint4(n) & 1) AS workflow, CASE n % 7 WHEN 0 THEN 'failed' ELSE 'succeeded' END AS state,
           CASE n WHEN 0 THEN 0 ELSE 1 + (n - 1) / 10000 END AS depth, NULL::jsonb AS error
    FROM generate_series(0, 99999) n
) q"""

_CHAINS = """
    INSERT INTO penstock.chains (id, environment, runs, created_at, warned_at, cut_at, stopped_at)
    SELECT ('00000000-0000-0000-0001-' || lpad(n::text, 12, '0'))::uuid,
           CASE n WHEN 4 THEN 'development' ELSE 'live' END, n, now() - n * interval '1 hour',
           CASE n WHEN 1 THEN now() END, CASE n WHEN 2 THEN now() END, CASE n WHEN 3 THEN now() END
    FROM generate_series(1, $1::int) n
"""


@pytest.fixture(scope="module")
async def ingress(
    servers: Servers, database_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ingress]:
    async with sharing_ingress(servers, database_template, write_app(tmp_path_factory.mktemp("app"))) as running:
        async with running.database.connection() as conn:
            await conn.execute(_LINE, ROOT)
            await conn.execute(
                "INSERT INTO penstock.chains (id, environment, runs, created_at) "
                "VALUES ($1, 'live', 11, now() - interval '2 years')",
                ROOT,
            )
            await conn.execute(_LARGE, LARGE_ROOT)
            await conn.execute(_CHAINS, MAX_LOOKED + 1)
        yield running


def nodes_of(picture: Mapping[str, object]) -> Sequence[dict[str, object]]:
    return cast("Sequence[dict[str, object]]", picture["nodes"])


async def draw(ingress: Ingress, chain: UUID, query: str = "") -> Mapping[str, object]:
    answer = await ingress.manage("GET", f"/v1/live/chains/{chain}/tree{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_runaway_shows_its_cycle_what_was_cut_and_how_near_its_limit_it_is(ingress: Ingress) -> None:
    picture = await draw(ingress, UUID(int=5))
    assert (picture["id"], picture["read"], picture["is_complete"]) == (str(ROOT), 12, True)
    assert picture["cycle"] == {"workflows": ["create", "other"], "rounds": 5}
    gauges = cast("dict[str, object]", picture["gauges"])
    assert gauges["depth"] == {"reached": 10, "limit": 10, "extra": 0}
    assert gauges["runs"] == {"reached": 11, "limit": 1000000, "extra": 0}
    assert nodes_of(picture)[-1]["cut"] == {"depth_limit": 1}
    assert [node["parent"] for node in nodes_of(picture)] == [None, *range(11)]


async def test_a_chain_of_a_hundred_thousand_runs_is_a_bounded_tree_of_them_all(ingress: Ingress) -> None:
    picture = await draw(ingress, LARGE_ROOT, "?nodes=500")
    nodes = nodes_of(picture)
    assert (picture["read"], picture["is_complete"], len(nodes)) == (100_000, True, 500)
    assert sum(cast("int", node["runs"]) + cast("int", node["hidden"]) for node in nodes) == 100_000


async def test_a_node_of_a_large_tree_is_opened_from_one_of_its_runs(ingress: Ingress) -> None:
    top = nodes_of(await draw(ingress, LARGE_ROOT, "?nodes=20"))
    cut = next(node for node in top if node["hidden"])
    below = nodes_of(await draw(ingress, LARGE_ROOT, f"?from={cut['run']}&nodes=5"))
    assert (below[0]["run"], below[0]["parent"], below[0]["runs"]) == (cut["run"], None, cut["runs"])


async def test_the_runs_of_a_node_are_listed_page_by_page(ingress: Ingress) -> None:
    node = next(node for node in nodes_of(await draw(ingress, LARGE_ROOT, "?nodes=20")) if node["depth"] == 1)
    found: list[dict[str, object]] = []
    path = f"/v1/live/chains/{LARGE_ROOT}/folded?run={node['run']}&limit=500"
    after: object = ""
    while after is not None and len(found) < 1000:
        page = (await ingress.manage("GET", f"{path}&after={after}" if after else path)).json
        found += cast("list[dict[str, object]]", page["results"])
        after = page["after"]
    assert len({str(run["id"]) for run in found}) == min(cast("int", node["runs"]), 1000)
    assert {(run["workflow"], run["state"]) for run in found} == {(node["workflow"], node["state"])}


@pytest.mark.parametrize("query", ["?nodes=0", "?nodes=501", "?nodes=x", "?from=x"])
async def test_what_cannot_be_meant_of_a_picture_is_refused(ingress: Ingress, query: str) -> None:
    answer = await ingress.manage("GET", f"/v1/live/chains/{ROOT}/tree{query}")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_a_run_of_another_chain_and_a_chain_of_another_environment_are_not_found(ingress: Ingress) -> None:
    for path in (
        f"/v1/live/chains/{ROOT}/tree?from={LARGE_ROOT}",
        f"/v1/live/chains/{ROOT}/folded?run={LARGE_ROOT}",
        f"/v1/development/chains/{ROOT}/tree",
        f"/v1/development/chains/{ROOT}/folded",
    ):
        assert (await ingress.manage("GET", path)).status == 404, path


async def list_chains(ingress: Ingress, query: str) -> tuple[list[int], object]:
    """The numbers of runs of the chains on a page, and its `after`."""
    page = (await ingress.manage("GET", f"/v1/live/chains?{query}")).json
    return [cast("int", chain["runs"]) for chain in cast("list[dict[str, object]]", page["results"])], page["after"]


async def test_chains_are_listed_newest_first_page_by_page(ingress: Ingress) -> None:
    assert (await list_chains(ingress, "limit=5"))[0] == [1, 2, 3, 5, 6]
    first, after = await list_chains(ingress, "limit=2")
    second, _ = await list_chains(ingress, f"limit=2&after={after}")
    assert (first, second) == ([1, 2], [3, 5])


async def test_chains_near_a_limit_cut_at_one_or_stopped_are_listed_alone(ingress: Ingress) -> None:
    for mark, runs in (("near", 1), ("cut", 2), ("stopped", 3)):
        assert await list_chains(ingress, f"mark={mark}") == ([runs], None), mark
    page = (await ingress.manage("GET", "/v1/live/chains?mark=near")).json
    (chain,) = cast("list[dict[str, object]]", page["results"])
    assert (chain["near"], chain["workflow"], chain["runs_limit"]) == (["depth"], None, 1000000)
    assert (await ingress.manage("GET", "/v1/live/chains?mark=far")).status == 400


async def test_a_page_of_chains_looks_at_a_bounded_number_of_them(ingress: Ingress) -> None:
    assert await list_chains(ingress, "workflow=start&since=2000-01-01T00:00:00Z&mark=cut") == ([], None)
    found, after = await list_chains(ingress, "workflow=start")
    assert (found, after is None) == ([], False)
    assert await list_chains(ingress, f"workflow=start&after={after}") == ([11], None)
    long_ago = "until=2020-01-01T00:00:00Z"
    assert await list_chains(ingress, long_ago) == ([], None)
