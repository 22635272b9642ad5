"""What `contains` asks of the log: words, phrases and alternatives, and what is refused."""

import pytest

from penstock.domain.log_terms import MAX_CHARACTERS, MAX_TERMS, read_log_terms


@pytest.mark.parametrize(
    ("contains", "text", "matches"),
    [
        ("timeout", "a timeout came", True),
        ("TIME", "a timeout came", True),
        ("out", "a timeout came", False),
        ("came timeout", "a timeout came", True),
        ("'timeout came'", "a timeout  came", True),
        ("'came timeout'", "a timeout came", False),
        ("ord-12", "order ord-123", True),
        ("ord-12", "order word-123", False),
        ("nothing OR timeout", "a timeout came", True),
        ("nothing or timeout", "a timeout came", False),
        ("OR timeout OR", "a timeout came", True),
        ("don't", "we don't", True),
        ("'half open", "it was 'half open", True),
        (".*x", "a.*x", True),
        (".*x", "abx", False),
        ("(a+)+$x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", False),
        ("ÉTÉ", "un été", True),
        ("中文", "説明中文字", True),
        ("100%", "it is 100% done", True),
        ("a_b\\c", "x a_b\\c", True),
    ],
)
def test_a_text_is_found_where_a_word_begins_with_it(contains: str, text: str, matches: bool) -> None:
    assert read_log_terms(contains).match((text, None)) is matches


def test_parts_of_a_line_are_searched_together() -> None:
    assert read_log_terms("completed greet").match(("event completed", "", "greet", None))


@pytest.mark.parametrize(
    ("contains", "message"),
    [
        ("\0", "cannot be stored"),
        ("a\ud800", "cannot be stored"),
        ("x" * (MAX_CHARACTERS + 1), "at most 1000 characters"),
        (" OR ".join("x" * (MAX_TERMS + 1)), "at most 50 words"),
        ("", "letter or a digit"),
        ("OR OR", "letter or a digit"),
        ("a ***", "letter or a digit"),
    ],
)
def test_what_nothing_can_contain_or_is_too_much_is_refused(contains: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_log_terms(contains)
