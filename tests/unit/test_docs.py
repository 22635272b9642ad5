"""The documents: what they show can be copied, and what they point at is there."""

import json
import re
import tomllib
from itertools import groupby
from pathlib import Path

import pytest
from pydantic import JsonValue

from penstock.contracts.asyncapi import build_document, render_document
from penstock.domain.letters import Letter, write_letter
from penstock.domain.notices import NoticeKind
from penstock.domain.states import RunState, Termination
from tests.docs import (
    DOCUMENTS,
    ROOT,
    SHELL,
    Block,
    Command,
    Place,
    check_command,
    commands_of_code,
    commands_of_documents,
    is_there,
    links,
    read_blocks,
    read_prose,
    shell_lines,
    split_command,
)
from tests.pages import parts, problems_of, write_app, write_app_with

PROGRAMS = {
    "penstock", "make", "git", "cd", "cp", "curl", "alias", "export", "stripe", "pytest", "pip", "python", "python3",
    "docker", "kubectl", "helm", "pg_dump", "pg_dumpall",
}  # fmt: skip
BLOCKS = [block for path in DOCUMENTS for block in read_blocks(path)]
PAGES = sorted({block.place.path for block in BLOCKS if block.language == "yaml"})


def blocks_in(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("command", commands_of_documents(), ids=lambda command: f"{command.place} {command.text}")
def test_a_command_that_a_document_shows_is_one(command: Command) -> None:
    for words in split_command(command.text):
        assert check_command(words, is_whole=command.is_whole) is None, command.text


@pytest.mark.parametrize("command", commands_of_code(), ids=lambda command: f"{command.place} {command.text}")
def test_a_command_that_a_message_names_is_one(command: Command) -> None:
    for words in split_command(command.text):
        assert check_command(words, is_whole=command.is_whole) is None, command.text


ABOUT: dict[str, JsonValue] = {"message": "it happened", "run_id": "ID", "chain_id": "ID"}
MAILS = {kind.value: write_letter(kind, "live", ABOUT) for kind in NoticeKind}
MAILS["paused"] = write_letter("recurrences.paused", "live", {**ABOUT, "recurrence_id": "ID"})
MAILS |= {
    reason.value: write_letter(NoticeKind.TERMINATIONS, "live", {**ABOUT, "kind": reason.value})
    for reason in Termination
}


@pytest.mark.parametrize("mail", MAILS.values(), ids=MAILS)
def test_a_mail_names_commands_that_there_are_with_their_options(mail: Letter) -> None:
    commands = re.findall(r"^ +(penstock .*)$", mail.text, re.MULTILINE)
    assert len(commands) >= 2
    assert commands[0] == mail.command
    for command in commands:
        for words in split_command(command):
            assert check_command(words, is_whole=True) is None, command


def test_a_command_that_is_none_is_found() -> None:
    assert check_command(["chain", "show", "ID"], is_whole=True) is None
    for words in (["bogus"], ["chain", "show", "ID", "--environment", "live"], ["chain", "show"], ["run", "-p"]):
        assert check_command(words, is_whole=True), words
    for words in (["bogus"], ["chain", "shout"], ["runs", "list", "--bogus"], ["doctor", "now"]):
        assert check_command(words, is_whole=False), words


@pytest.mark.parametrize("block", blocks_in(*SHELL), ids=lambda block: str(block.place))
def test_a_shell_block_holds_commands_that_there_are(block: Block) -> None:
    if "┌" in block.text:
        return  # a drawing
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for place, line in shell_lines(block):
        words = line.split()
        assert words[0] in PROGRAMS, f"{place}: {line}"
        if words[0] == "make" and len(words) > 1:
            assert words[1] in targets, f"{place}: {line}"
        for body in re.findall(r"(?:-d|--data|constraints=) ?'?([\[{].*[\]}])'", line):
            json.loads(body)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_app_that_a_page_shows_is_sound(page: Path, tmp_path: Path) -> None:
    assert problems_of(write_app(page, tmp_path)) == []


@pytest.mark.parametrize("block", parts(), ids=lambda block: str(block.place))
def test_a_part_of_an_app_fits_into_the_app_of_its_page(block: Block, tmp_path: Path) -> None:
    assert problems_of(write_app_with(block, tmp_path)) == []


@pytest.mark.parametrize(
    "text",
    [
        "sources:\n  stripe: {scheme: stripes}\n",
        "workflow: part\nstep: []\n",
        "type: order\nfields: {number: txt}\n",
        "retries: {attempt: 3}\n",
        "- creat: order\n",
        "scheme: stripe\nsecrets: []\n",
        "from penstock import App\n\napp = App()\n\n\n@app.workflow()\nasync def wrong(): ...\n",
    ],
)
def test_a_part_that_is_wrong_is_found(text: str, tmp_path: Path) -> None:
    language = "python" if "import" in text else "yaml"
    block = Block(Place(tmp_path / "page.md", 1), language, text)
    (tmp_path / "page.md").write_text("")
    assert problems_of(write_app_with(block, tmp_path)) != []


@pytest.mark.parametrize("block", blocks_in("json"), ids=lambda block: str(block.place))
def test_a_json_block_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks_in("toml"), ids=lambda block: str(block.place))
def test_a_toml_block_is_toml(block: Block) -> None:
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("block", blocks_in("python"), ids=lambda block: str(block.place))
def test_a_python_block_compiles(block: Block) -> None:
    compile(block.text, str(block.place), "exec")


def test_blocks_have_a_language_that_is_looked_at() -> None:
    assert {block.language for block in BLOCKS} <= {
        *SHELL,
        "yaml",
        "json",
        "python",
        "javascript",
        "sql",
        "toml",
        "dockerfile",
        "yml",
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_are_there(path: Path) -> None:
    assert [f"{place}: {target}" for place, target in links(path) if not is_there(path, target)] == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    page = ROOT / "docs" / "apps.md"
    for target in ("steps.md", "steps.md#data", "#editors", "../README.md", "schema", "https://example.com/none"):
        assert is_there(page, target), target
    for target in ("step.md", "steps.md#date", "#editor", "../READ.md", "/steps.md"):
        assert not is_there(page, target), target


def test_the_index_of_the_pages_leads_to_each_of_them() -> None:
    """Every page is reached from the README, in two clicks at most."""
    front = {(ROOT / target.partition("#")[0]).resolve() for _, target in links(ROOT / "README.md")}
    index = {(ROOT / "docs" / target.partition("#")[0]).resolve() for _, target in links(ROOT / "docs" / "apps.md")}
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page not in front | index] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_whole(path: Path) -> None:
    """A row that a blank line parts from its table is not in it, and one with a cell too many loses it."""
    for is_table, rows in groupby(read_prose(path), key=lambda row: row[1].startswith("|")):
        if not is_table:
            continue
        table = [(place, re.sub(r"`[^`]*`", lambda span: span[0].replace("\\|", ""), line)) for place, line in rows]
        assert len(table) > 2, f"{table[0][0]}: a table has a head and a row"
        assert re.fullmatch(r"\|(:?-+:?\|)+", table[1][1].replace(" ", "")), f"{table[1][0]}: no line below the head"
        columns = table[1][1].count("|")
        for place, line in table:
            assert len(re.findall(r"(?<!\\)\|", line)) == columns, f"{place}: {line}"


def test_the_table_of_events_names_all_of_them() -> None:
    page = (ROOT / "docs" / "messages.md").read_text()
    expanded = re.sub(
        r"<environment>\.(\w+)\.\{([\w,]+)\}",
        lambda found: " ".join(f"<environment>.{found[1]}.{state}" for state in found[2].split(",")),
        page,
    )
    keys = set(re.findall(r"\b(?:run|chain|list|workload)\.[a-z]+ed\b", render_document()))
    keys |= {f"run.{state}" for state in RunState if state.is_final} | {"run.scheduled", "run.started"}
    assert {key for key in keys if f"<environment>.{key}" not in expanded} == set()
    channels = build_document()["channels"]
    assert isinstance(channels, dict)
    described = json.dumps(channels["runEvents"])
    assert {key for key in keys if key.startswith("run.") and f'"{key.partition(".")[2]}"' not in described} == set()
