"""While few runs are believed to be scheduled, what asks for those of crowds, or for others, reads these alone."""

from collections import Counter
from collections.abc import Iterator

from penstock.db import Connection
from penstock_scheduler.repository.crowds import _LIST, _SHARE
from penstock_scheduler.repository.looks import LOOK_FOR_DUE
from penstock_scheduler.repository.runs import _DISPATCH_DUE, _MEASURE_BACKLOG
from tests.integration.plans.test_every_statement import plan

_ASKED = {
    "whose turn it is": _LIST, "the share of each": _SHARE, "what is due": _DISPATCH_DUE, "a look": LOOK_FOR_DUE,
    "the backlog": _MEASURE_BACKLOG,
}  # fmt: skip


async def test_runs_that_are_due_are_found_by_an_index_of_their_own(conn: Connection) -> None:
    await conn.execute("SET plan_cache_mode = force_generic_plan")
    used = {name: Counter(list_indexes(await plan(conn, text))) for name, text in _ASKED.items()}
    counts = {
        name: (found["runs_crowd_due"], found["runs_due"], found["runs_scheduled"]) for name, found in used.items()
    }
    assert counts == {
        "whose turn it is": (2, 0, 0), "the share of each": (1, 0, 0), "what is due": (0, 1, 0), "a look": (1, 1, 0),
        "the backlog": (3, 1, 1),  # and what is due later, of all runs
    }  # fmt: skip


def list_indexes(node: dict[str, object]) -> Iterator[str]:
    """The indexes that a plan reads, each as often as it stands there."""
    if "Index Name" in node:
        yield str(node["Index Name"])
    children = node.get("Plans", [])
    assert isinstance(children, list)
    for child in children:
        yield from list_indexes(child)
