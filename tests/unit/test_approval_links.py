"""Links of `wait_for`: signed for one step of one run, and forms that take what a browser sends and nothing else."""

from uuid import uuid4

import pytest
from pydantic import JsonValue

from penstock.definitions.approval_forms import MAX_FIELDS, read_answer, read_form
from penstock.domain.approval_links import LinkTarget, read_link, sign_link, write_url
from penstock_ingress.rules.approval_pages import show_form
from tests.hostile import Hostile, Kind, of_kind

KEY = b"k" * 32
TARGET = LinkTarget("live", uuid4(), "outer/ask")
SCHEMA: JsonValue = {
    "approved": "boolean",
    "amount": {"type": "number", "label": "How much?"},
    "day": {"type": "date", "optional": True},
    "way": {"type": "text", "options": ["by post", "by mail"]},
    "comment": {"type": "text", "optional": True},
}


def test_a_link_is_read_as_it_was_signed_and_in_its_environment_alone() -> None:
    token = sign_link(KEY, TARGET)
    assert read_link(KEY, "live", token) == TARGET
    assert read_link(KEY, "development", token) is None
    assert read_link(b"o" * 32, "live", token) is None
    assert write_url("https://x.example/", "live", token) == f"https://x.example/approvals/{token}"
    assert write_url("", "development", token) == f"/version-test/approvals/{token}"


def test_no_link_with_another_letter_holds() -> None:
    token = sign_link(KEY, TARGET)
    for position in range(len(token)):
        other = "A" if token[position] != "A" else "B"
        assert read_link(KEY, "live", f"{token[:position]}{other}{token[position + 1 :]}") is None
    for wrong in ("", "a", "é", "=" * 50, "a" * 100_000, token[:-2], token + "AAAA"):
        assert read_link(KEY, "live", wrong) is None


def test_values_are_read_by_their_types() -> None:
    given = {"approved": "true", "amount": " 12,50 ", "day": "2030-01-31", "way": "by post", "comment": "", "more": "x"}
    answer = read_answer(read_form(SCHEMA), given)
    assert answer.problems == {}
    assert answer.values == {
        "approved": True, "amount": 12.5, "day": "2030-01-31T00:00:00.000Z", "way": "by post", "comment": None,
    }  # fmt: skip
    assert read_answer(read_form({"n": "number"}), {"n": "3.0"}).values == {"n": 3}


def test_what_is_wrong_is_said_by_field_and_a_missing_box_is_false() -> None:
    answer = read_answer(read_form(SCHEMA), {"amount": "much", "way": "by bird", "day": "31 January"})
    assert set(answer.problems) == {"amount", "way", "day"}
    assert answer.values["approved"] is False
    for amount in ("nan", "inf", "1e400", "9" * 40, "1,2,3", "0x10"):
        assert "amount" in read_answer(read_form(SCHEMA), {"amount": amount, "way": "by post"}).problems, amount


@pytest.mark.parametrize("row", of_kind(Kind.TEXT), ids=lambda row: row.name)
def test_hostile_texts_are_taken_or_refused_and_shown_as_text(row: Hostile) -> None:
    text = row.text
    fields = read_form({"a": "text", "n": "number", "d": "date"})
    read_answer(fields, {"a": text, "n": text, "d": text})
    page = show_form("a<b", fields, given={"a": text}, problems={"a": "no"})
    assert b"<script" not in page.body.lower()


@pytest.mark.parametrize(
    ("schema", "part"),
    [
        ([], "a schema names fields"), ("x", "a schema names fields"), ({"a": "table"}, "one of text, number"),
        ({"a": {"type": "text", "size": 1}}, "unknown key 'size'"), ({"": "text"}, "a field's name"),
        ({"a": {"type": "number", "options": ["1"]}}, "of a field of type text"),
        ({"a": {"type": "text", "options": []}}, "options are 1 to"), ({"a": {"type": "text", "label": 5}}, "a label"),
        ({f"f{n}": "text" for n in range(MAX_FIELDS + 1)}, "at most 50 fields"), ({"a": None}, "one of text"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_meant_is_refused(schema: JsonValue, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        read_form(schema)


def test_the_page_labels_every_field_runs_no_script_and_is_sent_to_itself() -> None:
    page = show_form("approve_order", read_form(SCHEMA))
    html, policy = page.body.decode(), page.headers["Content-Security-Policy"]
    for number in range(5):
        assert html.count(f'id="field{number}"') == html.count(f'for="field{number}"') == 1
    assert "<h1>Approve order</h1>" in html
    assert 'method="post"' in html
    assert "action=" not in html
    assert "<script" not in html
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert 'name="viewport" content="width=device-width' in html
    assert (page.headers["Referrer-Policy"], page.headers["Cache-Control"]) == ("no-referrer", "no-store")
