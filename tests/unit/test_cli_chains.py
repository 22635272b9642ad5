"""How a chain is drawn in a terminal."""

from uuid import UUID

from rich.text import Text

from penstock.cli.chains import draw_tree
from penstock.cli.repository import ChainRunView, ChainView
from penstock.domain.states import RunState


def _run(
    number: int, parent: int | None, workflow: str, state: RunState = RunState.SUCCEEDED, depth: int = 1
) -> ChainRunView:
    return ChainRunView(
        UUID(int=number), None if parent is None else UUID(int=parent), None, workflow, state, depth, None
    )


def _draw(*runs: ChainRunView) -> list[str]:
    """The lines without their ids and colours."""
    chain = ChainView(UUID(int=1), "live", None, None, 0, (), runs)
    return [Text.from_markup(line).plain[38:] for line in draw_tree(chain)]


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
    chain = ChainView(
        UUID(int=1), "live", None, None, 0, (), tuple(_run(number, None, "item") for number in range(1, 1202))
    )
    assert Text.from_markup(draw_tree(chain)[0]).plain == f"{'1,201 alike':36}  item  succeeded"


def test_runs_whose_parent_is_not_listed_are_drawn_as_roots() -> None:
    assert _draw(_run(5, 4, "orphan")) == ["orphan  succeeded"]


def test_a_chain_deeper_than_the_stack_is_drawn() -> None:
    deep = [_run(1, None, "w"), *(_run(number, number - 1, "w", depth=number) for number in range(2, 3000))]
    assert len(_draw(*deep)) == 2999


def test_names_are_not_taken_for_markup() -> None:
    assert _draw(_run(1, None, "[red]name")) == ["[red]name  succeeded"]
