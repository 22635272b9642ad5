"""What the command line offers, how it explains itself, and what it refuses before it does anything."""

import re

import pytest
from typer.testing import CliRunner

from penstock.cli.program import build_program

COMMANDS = (
    ("up",), ("ingress",), ("scheduler",), ("executor",), ("migrate",), ("provision",), ("check",), ("eval",),
    ("deploy",), ("promote",), ("run",),
    ("runs", "show"),
    ("runs", "list"), ("runs", "cancel"), ("runs", "retry"),
    ("lists", "list"), ("lists", "show"), ("lists", "pause"), ("lists", "resume"), ("lists", "cancel"),
    ("lists", "retry"),
    ("chain", "show"), ("doctor",), ("bench",), ("secret", "set"), ("secret", "list"), ("secret", "remove"),
    ("secret", "rotate"),
    ("workload",), ("workload", "weights"), ("workload", "thresholds"),
    ("recurrences", "list"), ("recurrences", "pause"), ("recurrences", "resume"), ("recurrences", "trigger"),
    ("recurrences", "backfill"),
    ("recurrences", "next"),
    ("recurrences", "ticks"),
    ("schedule",), ("schedule", "list"), ("schedule", "cancel"), ("schedule", "move"), ("schedule", "pause"),
    ("schedule", "resume"),
    ("token", "create"), ("token", "list"), ("token", "revoke"), ("detected", "list"), ("detected", "accept"),
    ("deliveries", "list"), ("deliveries", "show"), ("deliveries", "replay"), ("deliveries", "tail"),
    ("dead-letters", "list"), ("dead-letters", "show"), ("dead-letters", "retry"), ("dead-letters", "discard"),
    ("dead-letters", "resolve"),
    ("new",), ("data", "import"), ("data", "export"), ("settings", "show"), ("settings", "set"), ("audit",),
    ("logs",),
)  # fmt: skip
PRINTS_DATA = (
    ("new",),
    ("dead-letters", "list"),
    ("dead-letters", "show"),
    ("dead-letters", "retry"),
    ("dead-letters", "discard"),
    ("dead-letters", "resolve"),
    ("deliveries", "list"),
    ("deliveries", "show"),
    ("deliveries", "replay"),
    ("deliveries", "tail"),
    ("token", "create"),
    ("token", "list"),
    ("detected", "list"),
    ("detected", "accept"),
    ("migrate",),
    ("provision",),
    ("check",),
    ("eval",),
    ("deploy",),
    ("promote",),
    ("run",),
    ("runs", "show"),
    ("runs", "list"),
    ("runs", "cancel"),
    ("runs", "retry"),
    ("lists", "list"),
    ("lists", "show"),
    ("lists", "pause"),
    ("lists", "resume"),
    ("lists", "cancel"),
    ("lists", "retry"),
    ("chain", "show"),
    ("doctor",),
    ("bench",),
    ("secret", "list"),
    ("secret", "rotate"),
    ("workload",),
    ("workload", "weights"),
    ("workload", "thresholds"),
    ("recurrences", "list"),
    ("recurrences", "pause"),
    ("recurrences", "resume"),
    ("recurrences", "trigger"),
    ("recurrences", "backfill"),
    ("recurrences", "next"),
    ("recurrences", "ticks"),
    ("schedule", "list"),
    ("schedule", "cancel"),
    ("schedule", "move"),
    ("schedule", "pause"),
    ("schedule", "resume"),
    ("data", "import"),
    ("data", "export"),
    ("settings", "show"),
    ("settings", "set"),
    ("audit",),
    ("logs",),
)
WIDE = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}


def test_help_lists_what_there_is_and_nothing_else() -> None:
    outcome = CliRunner().invoke(build_program(), ["--help"], env=WIDE)
    assert outcome.exit_code == 0
    listed = re.findall(r"^│ ([a-z][a-z-]*) ", outcome.stdout, re.MULTILINE)
    assert sorted(listed) == sorted({command[0] for command in COMMANDS})


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_examples(command: tuple[str, ...]) -> None:
    outcome = CliRunner().invoke(build_program(command), [*command, "--help"], env=WIDE)
    assert outcome.exit_code == 0
    options, _, examples = outcome.stdout.partition("Examples:")
    assert f"penstock {' '.join(command)}" in examples
    assert ("--json" in options) == (command in PRINTS_DATA)


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",),
        ("runs", "enlist"),
        ("schedule", "reminder"),
        ("schedule", "reminder", "--at", "2030-01-31T09:00:00Z", "--after", "2h"),
        ("schedule", "reminder", "--at", "tomorrow"),
        ("schedule", "--", "list"),
        ("schedule", "cancel"),
        ("schedule", "cancel", "--all", "--workflow", "reminder"),
        ("schedule", "move", "00000000-0000-8000-8000-000000000000"),
        ("schedule", "resume", "--missed", "forget"),
        ("schedule", "list", "--after", "nothing"),
        ("promote", "somewhere"),
        ("deploy", "."),
        ("deploy", ".", "--environment", "production"),
        ("deploy", "nowhere", "--environment", "live"),
        ("check", "nowhere"),
        ("check", "README.md"),
        ("up", "--app", "nowhere"),
        ("data", "import", "order", "nowhere.csv"),
        ("data", "export", "order", "-", "--format", "xlsx"),
        ("runs", "list", "--limit", "0"),
        ("runs", "list", "--after", "yesterday"),
        ("recurrences", "backfill", "0190a5f2-7c00-8a11-9b22-0123456789ab", "--since", "never"),
        ("run", "start", "-p", "no equals sign"),
        ("runs", "show", "not-an-id"),
        ("executor", "--concurrency", "0"),
        ("up", "--port", "70000"),
        ("workload", "--by", "colour"),
        ("workload", "--since", "yesterday"),
        ("workload", "--since", "2030-01-31T09:00:00"),
        ("workload", "--by", "activity", "--chain", "0190a5f2-7c00-8a11-9b22-0123456789ab"),
        ("workload", "weights", "colour=1"),
        ("workload", "weights", "call=-1"),
        ("workload", "weights", "call=nan"),
        ("workload", "weights", "call=much"),
        ("workload", "thresholds", "--allowance", "-1"),
        ("secret", "set", "no-name"),
        ("secret", "set", "NAME", "value on the command line"),
    ],
    ids=" ".join,
)
def test_a_command_line_that_cannot_be_meant_exits_with_2(arguments: tuple[str, ...]) -> None:
    outcome = CliRunner().invoke(build_program(arguments), arguments, env=WIDE)
    assert outcome.exit_code == 2
    assert "Error" in outcome.stderr
    assert not outcome.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_is_the_same_whether_it_is_loaded_alone_or_with_all(command: tuple[str, ...]) -> None:
    alone, together = (
        CliRunner().invoke(build_program(loaded), [*command, "--help"], env=WIDE).stdout for loaded in (command, ())
    )
    assert alone == together
