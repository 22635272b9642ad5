"""Figures of several times become one table, and are kept line by line."""

import json
from pathlib import Path

from tests.bench.figures import combine, store


def test_numbers_become_medians_with_their_spread() -> None:
    times = [
        {"runs": 100, "rate": rate, "cpu": {"python": share}, "rates": [rate], "ratio": ratio}
        for rate, share, ratio in ((900.0, 0.5, 0.3), (1100.0, 0.7, 0.31), (1000.0, 0.5, 0.29))
    ]
    assert combine(times) == {
        "runs": 100,
        "rate": 1000.0,
        "cpu": {"python": 0.5, "spread": {"python": [0.5, 0.7]}},
        "rates": [1000.0],
        "ratio": 0.3,
        "spread": {"rate": [900.0, 1100.0], "ratio": [0.29, 0.31]},
    }


def test_one_time_is_left_as_it_is() -> None:
    assert combine([{"rate": 9.5, "is_full": True, "cpu": {}}]) == {"rate": 9.5, "is_full": True, "cpu": {}}


def test_each_measurement_is_a_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.jsonl"
    store("drain", {"rate": 9.5}, path)
    store("list", {"items": 10}, path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["measure"], line.get("rate"), line.get("items")) for line in lines] == [
        ("drain", 9.5, None),
        ("list", None, 10),
    ]
    assert all("at" in line for line in lines)
