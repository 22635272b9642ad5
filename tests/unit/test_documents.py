"""YAML as Penstock reads it: what values mean, and each way a file can be unreadable."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.reading.documents import MAX_FILE_BYTES, Mapping, read_documents, to_json
from penstock.reading.places import Report

UNQUOTED = 'put texts with ${…} in quotes inside { } and [ ], such as "${params.name}"'
UNSTORABLE = "the text holds a character that cannot be stored (NUL or half of a surrogate pair); leave it out"
QUOTES = "put it in quotes if it is text"


def read(text: str | bytes) -> tuple[list[JsonValue], list[str]]:
    report = Report()
    documents = read_documents("w.yaml", text if isinstance(text, bytes) else text.encode(), report)
    return [to_json(document) for document in documents], [str(problem) for problem in report.problems]


def test_words_of_older_yaml_are_texts_and_numbers_are_numbers() -> None:
    text = (
        "on: yes\noff: No\na: ~\nb: True\nc: 0x1F\nd: 0o17\ne: 1_000\nf: 1e3\ng: .5\nh: '1'\ni: 12:30\nj: "
        "2026-01-01\nk:\n"
    )
    values: dict[str, JsonValue] = {
        "on": "yes",
        "off": "No",
        "a": None,
        "b": True,
        "c": 31,
        "d": 15,
        "e": "1_000",
        "f": 1000,
    }
    values |= {"g": 0.5, "h": "1", "i": "12:30", "j": "2026-01-01", "k": None}

    assert read(text) == ([values], [])


def test_a_file_holds_several_documents_and_empty_ones_do_not_count() -> None:
    assert read("---\n---\na: 1\n---\n# nothing\n---\n[x]\n") == ([{"a": 1}, ["x"]], [])
    assert read("") == ([], [])
    assert read("\ufeffa: 1") == ([{"a": 1}], [])


def test_anchors_are_expanded() -> None:
    assert read("a: &x {b: [1]}\nc: *x\n---\nd: &x 1\n") == ([{"a": {"b": [1]}, "c": {"b": [1]}}, {"d": 1}], [])


def test_nodes_know_their_lines_and_columns() -> None:
    report = Report()
    (document,) = read_documents("w.yaml", b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: \xc3\xa9 \r\n", report)

    assert isinstance(document, Mapping)
    inner = document.entries["b"][1]
    assert isinstance(inner, Mapping)
    value = inner.entries["c"][1]
    assert (str(value.place), value.place.file.locate(value.place.start)) == ("w.yaml:3", (3, 6))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "a: 1\n\tb: 2",
            (
                "w.yaml:2:1: this is not YAML: found character '\\t' that cannot start any token; indent with spaces, "
                "not "
                "with tabs"
            ),
        ),
        ("a: [1,\n", "w.yaml:2:1: this is not YAML: expected the node content, but found '<stream end>'"),
        (
            "a: b: c",
            (
                "w.yaml:1:5: this is not YAML: mapping values are not allowed here; put a text with a colon and a "
                "space in "
                "quotes"
            ),
        ),
        ("a: '", "w.yaml:1:4: this is not YAML: found unexpected end of stream; a quote is opened and not closed"),
        (
            "ab: {c: ${x}}",
            f"w.yaml:1:10: this is not YAML: expected ',' or '}}', but got '{{'; {UNQUOTED}",
        ),
        ("a: \x01", "w.yaml:1:4: this is not YAML: unacceptable character #x0001: special characters are not allowed"),
        ("a: 1\nb: 2\na: 3", "w.yaml:3: duplicate key 'a'; it stands in line 1 already"),
        ("? [a]\n: b", "w.yaml:1: a key has to be text; put it in quotes"),
        (": b", "w.yaml:1: a key has to be text; put it in quotes"),
        ("a: *b", "w.yaml:1: no anchor &b stands before *b; put a text that begins with * in quotes"),
        ("a: &a [*a]", "w.yaml:1: *a stands inside what it repeats, which would never end"),
        ("a: !!int '1'", "w.yaml:1: tags such as !!int are not supported; write the plain value"),
        ("a: !!set {b}", "w.yaml:1: tags such as !!set are not supported; write a plain list or mapping"),
        ("a: 9007199254740993", f"w.yaml:1: 9007199254740993 has more digits than a number keeps; {QUOTES}"),
        (f"a: {'9' * 5000}", f"w.yaml:1: {'9' * 30}… has more digits than a number keeps; {QUOTES}"),
        (r'a: "x\0"', f"w.yaml:1: {UNSTORABLE}"),
        (r'"\ud800": 1', f"w.yaml:1: {UNSTORABLE}"),
        ("a: .inf", f"w.yaml:1: .inf is not a number that JSON can hold; {QUOTES}"),
        ("a: 1e999", f"w.yaml:1: 1e999 is not a number that JSON can hold; {QUOTES}"),
        ("[" * 1000, "w.yaml:1: this is nested more than 40 deep"),
        ("- " * 1000, "w.yaml:1: this is nested more than 40 deep"),
        (b"a: 1\nb: \xff", "w.yaml:2: the file is not UTF-8; save it with that encoding"),
        (b" " * (MAX_FILE_BYTES + 1), "w.yaml: the file is larger than 1024 KiB; split it"),
        ('a: "\\U99999999"', "w.yaml: the file cannot be read as YAML (OverflowError)"),
        (
            "%YAML 2.0\n---\na",
            "w.yaml:1:1: this is not YAML: found incompatible YAML document (version 1.* is required)",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str | bytes, problem: str) -> None:
    assert read(text)[1] == [problem]


def test_a_billion_laughs_end_early() -> None:
    text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True):
        text += f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"

    assert read(text) == ([], ["w.yaml:5: the file has more than 100000 values once its anchors are expanded"])


@settings(deadline=None)
@given(st.text() | st.text("ab:-[]{}'\"&*!|>#%@,?\n\t ~.0", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    documents, problems = read(text.encode(errors="replace"))

    assert isinstance(documents, list)
    assert len(problems) <= len(text) + 1
