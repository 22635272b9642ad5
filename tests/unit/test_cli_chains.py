"""How a chain is drawn in a terminal."""

import re
from datetime import UTC, datetime
from uuid import UUID

from rich.text import Text

from penstock.cli.chains import draw_tree
from penstock.domain.states import RunState
from penstock.runs.views.models import ChainRun


def _run(
    number: int, parent: int | None, workflow: str, state: RunState = RunState.SUCCEEDED, depth: int = 1
) -> ChainRun:
    return ChainRun(
        id=UUID(int=number),
        parent_run_id=None if parent is None else UUID(int=parent),
        list_id=None,
        workflow=workflow,
        state=state,
        depth=depth,
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
        finished_at=None,
    )


def _draw(*runs: ChainRun) -> list[str]:
    """The lines without their ids and colours."""
    return [Text.from_markup(line).plain[38:] for line in draw_tree(runs)]


def test_each_run_stands_under_its_parent() -> None:
    drawn = _draw(
        _run(1, None, "root"), _run(2, 1, "a"), _run(3, 1, "b"), _run(4, 2, "c"), _run(5, 3, "d", RunState.FAILED)
    )
    assert drawn == ["root  succeeded", "├ a  succeeded", "│ └ c  succeeded", "└ b  succeeded", "  └ d  failed"]


def test_many_leaves_that_are_alike_are_one_line() -> None:
    items = [_run(number, 1, "item") for number in range(2, 8)]
    drawn = _draw(_run(1, None, "root"), *items, _run(8, 1, "item", RunState.FAILED), _run(9, 1, "other"))
    assert drawn == ["root  succeeded", "├ item  succeeded", "├ item  failed", "└ other  succeeded"]


def test_alike_runs_are_counted_where_their_id_would_stand() -> None:
    runs = [_run(number, None, "item") for number in range(1, 1202)]
    assert Text.from_markup(draw_tree(runs)[0]).plain == f"{'1,201 alike':36}  item  succeeded"


def test_a_tree_with_short_ids_stays_aligned() -> None:
    runs = [_run(1, None, "root"), *(_run(number, 1, "item") for number in range(2, 8))]
    drawn = [Text.from_markup(line).plain for line in draw_tree(runs, lambda id: id[:13])]
    assert drawn == ["00000000-0000  root  succeeded", "6 alike        └ item  succeeded"]


def test_runs_whose_parent_is_not_listed_are_drawn_as_roots() -> None:
    assert _draw(_run(5, 4, "orphan")) == ["orphan  succeeded"]


def test_a_chain_deeper_than_the_stack_is_drawn() -> None:
    deep = [_run(1, None, "w"), *(_run(number, number - 1, "w", depth=number) for number in range(2, 3000))]
    assert len(_draw(*deep)) == 2999


def test_names_are_not_taken_for_markup() -> None:
    assert _draw(_run(1, None, "[red]name")) == ["[red]name  succeeded"]


def test_a_tree_that_is_deeper_than_the_terminal_is_wide_names_the_depth_instead_of_guides() -> None:
    runs = [_run(depth + 1, depth or None, "turn", depth=depth) for depth in range(60)]
    lines = [Text.from_markup(line).plain for line in draw_tree(runs, lambda id: id[:13], width=60)]
    assert max(map(len, lines)) <= 60
    assert lines[3][13:] == "      └ turn  succeeded"
    assert re.fullmatch(r".{13}  59 … +└ turn  succeeded", lines[59])
