"""What `make lint` refuses beside what ruff, mypy and import-linter do."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
Check = Callable[..., list[str]]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("walls", ROOT / ".ci" / "walls.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WALLS = _load()


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """The findings in a file of this text, without the file's name."""
    monkeypatch.chdir(tmp_path)

    def look(text: str, *, name: str = "sample.py", parts: tuple[str, ...] = WALLS.PARTS) -> list[str]:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return [finding.removeprefix(f"{name}:") for finding in WALLS.check(path, parts)]

    return look


def test_a_function_has_at_most_fifty_lines(check: Check) -> None:
    body = "    pass\n"
    assert check(f"async def long():\n{body * 49}") == []
    assert check(f"class A:\n  async def long(self):\n{body * 50}") == [
        "2: long has 51 lines; a function has at most 50"
    ]


def test_a_module_has_at_most_four_hundred_lines(check: Check) -> None:
    assert check("x = 1\n" * 400) == []
    (finding,) = check("x = 1\n" * 401)
    assert finding == "1: 401 lines; a module has at most 400: make it a folder of its parts"
    assert check("word\n" * 401, name="long.md") == []


@pytest.mark.parametrize(
    "code",
    [
        'f"SELECT {name} FROM t"',
        'f"""\n  UPDATE t SET a = {value}\n"""',
        'f"DELETE FROM {table.name} WHERE x"',
        'f"WITH a AS ({inner()}) SELECT {COLUMNS}"',
    ],
)
def test_sql_is_not_made_of_values(check: Check, code: str) -> None:
    said = "1: SQL made of an f-string; pass values as arguments, quote names"
    assert check(f"x = {code}\n") == [said]
    assert check(f"x = {code}\n", name="services/penstock_ingress/repository/runs.py") == [said]
    assert check(f"x = {code}\n", name="shared/penstock/things/tables.py") == []


@pytest.mark.parametrize(
    "code",
    [
        '"SELECT a FROM t"',
        'f"SELECT {_RUN} FROM {views.FROM}"',
        'f"Selected {name}"',
        'f"{name} SELECT"',
        'f"UPDATED {x}"',
    ],
)
def test_constants_and_other_texts_are_not_sql_of_values(check: Check, code: str) -> None:
    assert check(f"x = {code}\n") == []


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Begin anew.", "'anew': write again"),
        ("It is no number.", "'is no number': write is not a …"),
        ("Who is told of it", "'is told': write is reported, is notified"),
        ("whoever asks", "'whoever': write everyone who, the one who"),
        ("these are no ids", "'are no ids': write is not a …"),
        ("the run goes on", "'goes on': write continues"),
        ("while it was going on", "'going on': write continues"),
        ("after so many runs", "'so many': write this many, at most …"),
        ("while a request is in work", "'in work': write in progress"),
        ("`id` tells two of them apart", "'tells two of them apart': write distinguishes"),
        ("pip is not to be had here", "'to be had': write is available"),
        ("it waits for ever", "'for ever': write forever"),
        ("MOST_RUNS = 1", "'MOST_R': write MAX_, MIN_"),
        ("_SHORTEST_NAME = 1", "'_SHORTEST_N': write MAX_, MIN_"),
        ("def _bury() -> None: ...", "'_bury': write dead-letter"),
    ],
)
def test_words_that_a_reader_stumbles_over_are_named(check: Check, text: str, finding: str) -> None:
    assert check(f"fine\n{text}\n", name="page.md") == [f"2: {finding}"]
    assert check(f'"""{text}"""\n', parts=("words",)) == [f"1: {finding}"]
    assert check(f'"""{text}"""\n', parts=("functions", "modules", "sql")) == []


@pytest.mark.parametrize(
    "text", ["There are no runs.", "Where is no list?", "It is no longer there.", "They are no more."]
)
def test_words_that_only_look_like_those_are_left_alone(check: Check, text: str) -> None:
    assert check(f"{text}\n", name="page.md") == []


def test_findings_fail_the_build_and_an_unknown_part_is_named(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    check("x = 1\n")
    assert WALLS.main(["sample.py"]) == 0
    check("# anew\n")
    assert (WALLS.main(["sample.py"]), WALLS.main(["--only", "sql", "sample.py"])) == (1, 0)
    assert capsys.readouterr().out == "sample.py:1: 'anew': write again\n"
    assert WALLS.main(["--only", "lines", "sample.py"]) == 2
    assert "no part lines; the parts are functions, modules, sql, words" in capsys.readouterr().err


def test_the_parts_that_lint_names_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if ".ci/walls.py" in line]
    assert WALLS.main(line.split("walls.py")[1].split()) == 0
