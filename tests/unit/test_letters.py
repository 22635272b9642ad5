"""What notifications say: here, where they lead to."""

import pytest
from pydantic import JsonValue

from penstock.domain.letters import write_letter
from penstock.domain.notices import NoticeKind

ABOUT: dict[str, JsonValue] = {"message": "it happened", "run_id": "R", "chain_id": "C"}


@pytest.mark.parametrize(
    ("kind", "details", "page"),
    [
        (NoticeKind.TERMINATIONS, ABOUT, "chains/C"),
        (NoticeKind.OBSERVED, ABOUT, "chains/C"),
        (NoticeKind.STOPS, ABOUT, "chains/C"),
        (NoticeKind.WARNINGS, ABOUT, "chains/C"),
        (NoticeKind.RECURRENCES, ABOUT, "runs/R"),
        (NoticeKind.RECURRENCES, {}, "schedule"),
        (NoticeKind.WORKLOAD, {}, "workload"),
        (NoticeKind.DEAD_LETTERS, {}, "dead-letters"),
    ],
)
def test_a_mail_leads_to_the_page_where_something_can_be_done(
    kind: NoticeKind, details: dict[str, JsonValue], page: str
) -> None:
    letter = write_letter(kind, "live", details, "https://penstock.example.com/")
    assert letter.url == f"https://penstock.example.com/console/live/{page}"
    assert f"\n    {letter.url}\n" in letter.text


def test_a_mail_leads_nowhere_while_nobody_has_said_where_the_console_is() -> None:
    letter = write_letter(NoticeKind.TERMINATIONS, "live", ABOUT)
    assert (letter.url, "console" in letter.text) == (None, False)
