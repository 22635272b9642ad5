"""What `penstock doctor` says of the services."""

import pytest

from penstock.cli.examination import describe_readiness


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
