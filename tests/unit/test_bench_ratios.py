"""`make bench-check`: which losses of speed are noticed."""

from pathlib import Path

from tests.bench.ratios import find_losses, find_ratios, keep_ratios

MEASURED: dict[str, dict[str, object]] = {
    "accept": {"accepted_per_second": 5000, "ratio": 0.2},
    "peers": {"jobs": 100, "ratios": {"pgqueuer": 2.5, "dbos": 40.0}},
    "hops": {"hops_per_second": 150},
}


def test_ratios_are_found_and_rates_are_not() -> None:
    assert find_ratios(MEASURED) == {"accept": 0.2, "peers pgqueuer": 2.5, "peers dbos": 40.0}


def test_a_loss_of_more_than_a_fifth_is_named(tmp_path: Path) -> None:
    kept = tmp_path / "ratios.json"
    keep_ratios(find_ratios(MEASURED), kept)
    assert list(find_losses({"accept": 0.161, "peers pgqueuer": 2.6, "peers dbos": 32.1}, kept)) == []
    assert list(find_losses({"accept": 0.15, "peers dbos": 20.0}, kept)) == [
        "accept: 0.15, and 0.2 was kept: 25 % less",
        "peers dbos: 20.0, and 40.0 was kept: 50 % less",
        "peers pgqueuer: 2.5 was kept, and nothing was measured",
    ]


def test_what_was_not_measured_is_not_missed(tmp_path: Path) -> None:
    kept = tmp_path / "ratios.json"
    keep_ratios({"accept": 0.2, "growth finished": 0.95, "growth waiting": 0.9}, kept)
    assert list(find_losses({"growth finished": 0.96}, kept, measures=["growth"])) == [
        "growth waiting: 0.9 was kept, and nothing was measured"
    ]


def test_keeping_some_ratios_leaves_the_others(tmp_path: Path) -> None:
    kept = tmp_path / "ratios.json"
    keep_ratios({"accept": 0.2, "drain": 0.13}, kept)
    keep_ratios({"accept": 0.25}, kept)
    assert list(find_losses({}, kept)) == [
        "accept: 0.25 was kept, and nothing was measured",
        "drain: 0.13 was kept, and nothing was measured",
    ]
