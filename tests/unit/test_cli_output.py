"""What the command line prints of other people's texts: nothing that a terminal would act on reaches it."""

import ast
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group
from rich.text import Text

from penstock import exact_json
from penstock.cli import output
from penstock.visible import make_json_visible, make_visible

COMMANDS = Path(output.__file__).parent
ACTED_ON = [
    *map(chr, range(0x09)), *map(chr, range(0x0B, 0x20)), *map(chr, range(0x7F, 0xA0)), "\u061c", "\u200e", "\u200f",
    *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\u2028", "\u2029", "\ufeff", "\U000e0041",
]  # fmt: skip
TITLE = "\x1b]0;owned\x07"
HOSTILE = [TITLE, "\x1b[2J\x1b[H", "\x9b31m", "ok\rfailed", "a\x08b", "\u202egpj.exe", "[red]not ours[/]", ":smile:"]


@pytest.mark.parametrize("sign", ACTED_ON, ids=lambda sign: f"{ord(sign):x}")
def test_what_a_terminal_acts_on_is_written_out(sign: str) -> None:
    visible = make_visible(f"a{sign}b")
    assert visible.replace("\n", "").replace("\t", "").isprintable()
    assert visible.startswith("a\\")
    assert visible.endswith("b")


def test_ordinary_text_in_any_script_stays_as_it_is() -> None:
    text = "naïve 日本語 שלום مرحبا 👩‍👩‍👧 \t\n \u00a0 \\x1b"
    assert make_visible(text) is text or make_visible(text) == text


@given(st.text())
def test_json_made_visible_is_the_same_value(text: str) -> None:
    encoded = make_json_visible(orjson.dumps({text: [text]}).decode())
    assert orjson.loads(encoded) == {text: [text]}
    assert make_visible(encoded) == encoded


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_every_way_of_printing_shows_instead_of_obeying(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    table, facts = output.make_table("one"), output.make_facts()
    table.add_row(output.show_text(text))
    table.add_row(output.make_text(text))
    facts.add_row("a", output.show_value({text: text}))
    console = output.VisibleConsole(width=80)
    console.print(Group(facts, Text(text)))
    output.print_table(table)
    output.print_json([text])
    output.print_json_list([{text: text}])
    output.say(text)
    output.print_text(text)
    output.complain(text)
    printed = "".join(capfd.readouterr())
    assert make_visible(printed) == printed
    shown = make_visible(text)
    assert printed.count(shown) >= 5, printed
    assert "not ours" not in text or "[red]not ours[/]" in printed


def test_no_command_prints_past_the_one_place() -> None:
    """`typer.echo`, `print`, rich's own console and texts, and markup escaped elsewhere would be ways around it."""
    ways = {"echo", "secho", "print", "Console", "Text", "escape"}
    found = []
    for path in COMMANDS.glob("*.py"):
        if path.name in {"output.py", "program.py", "front.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                owner = node.func.value if isinstance(node.func, ast.Attribute) else None
                is_ours = isinstance(owner, ast.Name) and owner.id == "console"
                if name in ways and not is_ours:
                    found.append(f"{path.name}:{node.lineno}: {name}")
    assert found == []


def test_a_list_has_the_shape_of_the_management_api(capfd: pytest.CaptureFixture[str]) -> None:
    output.print_json_list(iter([1]), about={"environment": "live"})
    output.print_json_list([], after="x")
    first, second = capfd.readouterr().out.split("\n{")
    assert orjson.loads(first) == {"environment": "live", "results": [1], "after": None}
    assert orjson.loads("{" + second) == {"results": [], "after": "x"}


def test_numbers_keep_their_digits(capfd: pytest.CaptureFixture[str]) -> None:
    value = exact_json.loads(b"[1.23456789012345678901, 123456789012345678901234567890]")
    output.print_json({"value": value})
    printed = capfd.readouterr().out
    assert exact_json.dumps(exact_json.loads(printed)) == b'{"value":' + exact_json.dumps(value) + b"}"
    assert output.show_value(value) == r"\[1.23456789012345678901,123456789012345678901234567890]".removeprefix("\\")
