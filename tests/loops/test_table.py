"""The published table is what the corpus and the rules say, and the rules are what their sources say."""

from datetime import timedelta

import pytest

from tests.loops.corpus import Hop, Link
from tests.loops.peers import Path, Ruling, Verdict, aws_lambda, bubble, dataverse, elastic
from tests.loops.table import BEGIN, END, PAGE, render

AT_ONCE, TEN_MINUTES, A_DAY = timedelta(0), timedelta(minutes=10), timedelta(days=1)


def alone(link: Link, hops: int, every: timedelta = AT_ONCE) -> Path:
    """A workflow that leads to itself this many times."""
    return Path("a", [Hop("a", link)] * hops, every)


def in_turn(link: Link, hops: int) -> Path:
    """Different workflows, each of which leads to the next."""
    return Path("w0", [Hop(f"w{number}", link) for number in range(1, hops + 1)], AT_ONCE)


def test_the_page_holds_the_table() -> None:
    _, _, rest = PAGE.read_text().partition(BEGIN)
    table, _, _ = rest.partition(END)
    assert table == f"\n{render()}\n", "run `python -m tests.loops.table`"


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        (alone("schedule", 10), Ruling.RUNS),
        (alone("delayed", 20, A_DAY), 11),
        (alone("http", 3), Ruling.RUNS),
        (alone("http", 20), 4),
        (alone("other", 20), 11),
        (alone("change", 1), Ruling.RUNS),
        (alone("change", 20), 2),
        (alone("message", 1), Ruling.SILENT),
    ],
)
def test_bubble_counts_what_is_scheduled(path: Path, verdict: Verdict) -> None:
    assert bubble(path) == verdict


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        (alone("schedule", 15), Ruling.RUNS),
        (alone("schedule", 40), 16),
        (in_turn("schedule", 40), Ruling.RUNS),
        (alone("delayed", 40, TEN_MINUTES), 16),
        (alone("delayed", 40, A_DAY), Ruling.RUNS),
        (alone("change", 40), Ruling.RUNS),
    ],
)
def test_lambda_counts_invocations_of_a_function_where_it_sees_them(path: Path, verdict: Verdict) -> None:
    assert aws_lambda(path) == verdict


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        (alone("schedule", 1), 1),
        (in_turn("change", 10), Ruling.RUNS),
        (in_turn("change", 20), 11),
        (alone("other", 20), Ruling.RUNS),
    ],
)
def test_elastic_lets_no_workflow_onto_a_chain_twice(path: Path, verdict: Verdict) -> None:
    assert elastic(path) == verdict


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        (alone("schedule", 7), Ruling.RUNS),
        (alone("schedule", 20), 8),
        (alone("delayed", 20, TEN_MINUTES), Ruling.RUNS),
        (alone("http", 20), Ruling.RUNS),
    ],
)
def test_dataverse_counts_within_an_hour(path: Path, verdict: Verdict) -> None:
    assert dataverse(path) == verdict
