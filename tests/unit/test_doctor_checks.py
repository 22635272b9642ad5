"""What `penstock doctor` says of the services."""

from datetime import timedelta

import pytest

from penstock.cli.doctor_checks import Verdict, describe_readiness, describe_sizes, judge_keeping, show_bytes
from penstock.store.retention import Keeping, KeptTable


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            '{"status": "ready", "checks": {"database": true, "broker": true}}',
            "ready: database reached, broker reached",
        ),
        (
            '{"status": "unavailable", "checks": {"database": true, "broker": false}}',
            "unavailable: database reached, broker not reached",
        ),
    ],
)
def test_the_answer_of_services_is_said_in_words(answer: str, said: str) -> None:
    assert describe_readiness(answer) == said


@pytest.mark.parametrize("answer", ["", "<html>", "[]", "3", "{}", '{"status": "ready", "checks": 3}'])
def test_another_answer_is_shown_as_it_is(answer: str) -> None:
    assert describe_readiness(answer) == answer


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536 * 1024**2, "1.5 GiB"),
        (5 * 1024**5, "5,120.0 TiB"),
    ],
)
def test_a_size_is_shown_in_its_unit(size: int, shown: str) -> None:
    assert show_bytes(size) == shown


def test_the_largest_tables_are_named_with_what_they_take() -> None:
    sizes = [KeptTable(f"t{number}", 1000, 1024**2) for number in range(9)]
    assert describe_sizes(sizes).startswith("9.0 MiB in all; t0 1.0 MiB (about 1,000 rows), t1")
    assert "t5" not in describe_sizes(sizes)
    assert describe_sizes([KeptTable("new", None, 8192)]).endswith("new 8.0 KiB (rows not counted yet)")


def test_what_is_kept_and_what_was_deleted_is_said() -> None:
    keeping = Keeping("live", "30d", {"runs": 12_000, "log lines": 0}, None)
    finding = judge_keeping(keeping)
    assert finding.verdict is Verdict.OK
    assert finding.found == "live keeps what has ended for 30d; deleted so far: 12,000 runs"


def test_a_deletion_that_does_not_keep_up_is_a_warning() -> None:
    finding = judge_keeping(Keeping("live", "30d", {"runs": 0}, timedelta(hours=31)))
    assert finding.verdict is Verdict.WARNING
    assert "deleted so far: nothing; deletion is 31 hours behind" in finding.found
    assert "start a scheduler" in finding.advice
