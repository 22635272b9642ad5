"""What a command line may look like: where `--json` stands, how ids are given, what a shell completes."""

import re
import subprocess
import sys

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from penstock.cli.front import build_front, is_front
from penstock.cli.identifiers import Command, IdPrefix, parse_recurrence_or_cron
from penstock.cli.program import build_program, move_json
from tests.acceptance.console import PENSTOCK, clean_environment


def _command(*words: str) -> Command:
    command = get_command(build_program(words))
    assert isinstance(command, TyperCommand | TyperGroup)
    return command


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--json runs list -n 2", "runs list --json -n 2"),
        ("runs --json list -n 2", "runs list --json -n 2"),
        ("--json runs --json list", "runs list --json"),
        ("runs list -n 2 --json", "runs list -n 2 --json"),
        ("--json check .", "check --json ."),
        ("--json run -- --json", "run --json -- --json"),
        ("run start -p --json=1", "run start -p --json=1"),
        ("--json workload weights", "workload weights --json"),
        ("--json workload", "workload --json"),
        ("--json", "--json"),
        ("--json bogus", "--json bogus"),
    ],
)
def test_json_may_stand_before_the_sub_command(given: str, meant: str) -> None:
    words = [word for word in given.split() if word != "--json"]
    assert move_json(_command(*words), given.split()) == meant.split()


def _run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*PENSTOCK, *arguments), env=clean_environment(**settings), capture_output=True, text=True, check=False
    )


def test_json_before_the_sub_command_is_understood_by_the_program() -> None:
    outcome = _run("--json", "check", "examples/quickstart")
    assert (outcome.returncode, outcome.stdout[:1]) == (0, "{")


@pytest.mark.parametrize("id", ["0190a5f", "0190a5fg", "0190a5f2-7c00-8a11-9b22-0123456789abc", "", "-" * 40])
def test_what_cannot_begin_an_id_is_a_usage_error(id: str) -> None:
    outcome = CliRunner().invoke(build_program(["runs"]), ["runs", "show", "--", id], env={"COLUMNS": "200"})
    assert outcome.exit_code == 2
    assert "is not an id; give it whole, or its first 8 characters or more" in outcome.stderr


@pytest.mark.parametrize("what", ["@daily", "0 3 * * *"])
def test_a_cron_expression_is_not_taken_for_an_id(what: str) -> None:
    assert parse_recurrence_or_cron(what) == what
    assert parse_recurrence_or_cron("0190a5f2") == IdPrefix("0190a5f2", ("recurrence",))


def test_help_offers_to_install_and_to_show_completion() -> None:
    outcome = CliRunner().invoke(build_program(), ["--help"], env={"COLUMNS": "120", "TERM": "dumb"})
    assert "--install-completion" in outcome.stdout
    assert "--show-completion" in outcome.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [("penstock recur", "recurrences"), ("penstock runs l", "list"), ("penstock runs list --st", "--state")],
)
def test_a_shell_completes_commands_and_options(line: str, offered: str) -> None:
    position = str(len(line.split()) - 1)
    outcome = _run(_PENSTOCK_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=position)
    assert offered in outcome.stdout.split(), outcome


@pytest.mark.parametrize(
    ("word", "meant"), [("schedul", "schedule"), ("shedule", "schedule"), ("schedulr", "scheduler")]
)
def test_a_misspelled_command_is_met_with_the_nearest_one_only(word: str, meant: str) -> None:
    outcome = _run(word)
    assert outcome.returncode == 2
    assert re.findall(r"'(\w+)'", outcome.stderr) == [word, meant]


def test_the_front_shows_what_the_commands_say_of_themselves() -> None:
    front, program = (
        CliRunner().invoke(build(), ["--help"], env={"COLUMNS": "300", "TERM": "dumb"})
        for build in (build_front, build_program)
    )
    assert _words(front.stdout) == _words(program.stdout)
    assert "penstock.cli.program" not in _modules_of("--help")
    assert "pydantic" not in _modules_of("--help")


@pytest.mark.parametrize(
    ("line", "is_enough"),
    [
        ("penstock", True),
        ("penstock ", True),
        ("penstock ru", True),
        ("penstock run ", False),
        ("penstock runs l", False),
    ],
)
def test_the_front_is_enough_to_complete_the_name_of_a_command(line: str, is_enough: bool) -> None:
    for variable in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS"):
        assert is_front([], {"_PENSTOCK_COMPLETE": "complete_bash", variable: line}) is is_enough


def _words(help: str) -> list[str]:
    return help.replace("│", " ").split()


def _modules_of(argument: str) -> set[str]:
    """What is imported to answer this."""
    code = f"import sys; sys.argv = ['penstock', {argument!r}]\nfrom penstock.cli import main\n"
    code += "try: main()\nexcept SystemExit: print('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.splitlines())
