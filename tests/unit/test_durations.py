"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("5s", 5), ("10m", 600), ("2h", 7200), ("3d", 259_200), ("0s", 0), ("1.5h", 5400), (" 5s ", 5)],
)
def test_number_and_unit_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("5 s", "5s"), ("5S", "5s"), ("5w", "35d"), ("1h30m", "90m"), ("5 min", "5m"), ("5 minutes", "5m"),
        ("PT5M", "5m"), ("P1DT2H", "26h"), ("2 hours and 5 minutes", "125m"), ("1,5 h", ""),
        ("5 x", ""), ("1e99 d", ""),
    ],
)  # fmt: skip
def test_what_is_written_otherwise_is_recognised(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean {meant}\\?$" if meant else "write a number and a unit"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "1e3s", "٣s", "999999999d"])
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration; write|is longer than 100 years"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_what_is_formatted_is_read_back(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration
