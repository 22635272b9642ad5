"""What a reader may copy from the documents and from messages: blocks of code, commands, links, each with its place."""

import ast
import re
import shlex
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Final

from typer.core import TyperArgument, TyperGroup
from typer.main import get_command

from penstock.cli.program import build_program

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")]
)
SOURCES: Final = sorted([*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")])
SHELL: Final = ("", "sh")
_FENCE: Final = re.compile(r"^( *)```(\w*)$")
_SPAN: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PARTS_OF_PATHS: Final = {
    "/version-test",
    "/version-live",
    "/version-<name>",
    "/webhooks",
    "/{id}",
    "/v1/{environment}",
}
_OF_OTHERS: Final = {"/opt/penstock/sbom.cdx.json", "/proc", "/.well-known/openid-configuration"}
"""Paths of files, and of other servers."""
_SAMPLES: Final = {
    "ID": "0190a5f2-7c00-8a11-9b22-0123456789ab",
    "DIR": "examples/quickstart",
    "N": "1",
    "UNITS": "1000",
    "{name}": "executor",
    "WORKFLOW": "start",
    "shop": "examples/quickstart",
    "T": "2030-01-31T09:00:00Z",
    "prices.csv": "README.md",
    "orders.csv": "README.md",
    "your-copy": "examples/quickstart",
    "examples/NAME": "examples/quickstart",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: its language (often none, for shell) and its lines."""

    place: Place
    language: str
    text: str
    host: str | None = None
    """The app, a directory of the project, that a comment before the block says it is a part of."""

    @property
    def file(self) -> str | None:
        """The file that its first line, a comment, says it is."""
        found = re.match(r"# ([\w./-]+\.(?:yaml|py|toml))\b", self.text)
        return found[1] if found else None


@dataclass(frozen=True, slots=True)
class Command:
    """A command of ours. `is_whole`: it stands in a block to be copied, not in a sentence that names it."""

    place: Place
    text: str
    is_whole: bool


@cache
def read_blocks(path: Path) -> tuple[Block, ...]:
    """The blocks of a document."""
    blocks: list[Block] = []
    begun: tuple[int, str] | None = None
    lines: list[str] = []
    host: str | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            lines.append(line)
        elif begun is None:
            named = re.fullmatch(r"<!-- part of (\S+) -->", lines[-1]) if lines else None
            begun, lines, host = (number, fence[2]), [], named[1] if named else None
        else:
            blocks.append(Block(Place(path, begun[0] + 1), begun[1], "\n".join(lines) + "\n", host))
            begun, lines = None, []
    assert begun is None, f"{path}: a block that is never closed"
    return tuple(blocks)


def read_prose(path: Path) -> Iterator[tuple[Place, str]]:
    """The lines of a document that stand in no block."""
    is_block = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if _FENCE.match(line):
            is_block = not is_block
        elif not is_block:
            yield Place(path, number), line


def shell_lines(block: Block) -> Iterator[tuple[Place, str]]:
    """The lines of a block in shell, those that end with a backslash together with the next; no comments."""
    joined, first = "", 0
    for number, line in enumerate(block.text.splitlines()):
        joined, first = joined + line, first if joined else number
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        text = _without_comment(joined)
        joined = ""
        if text:
            yield Place(block.place.path, block.place.line + first), text


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#(\s.*)?$", "", line).strip()


def commands_of_documents() -> list[Command]:
    """Every `penstock …` in a block or a sentence."""
    found: list[Command] = []
    for path in DOCUMENTS:
        for block in read_blocks(path):
            if block.language in SHELL:
                lines = shell_lines(block)
                found += [Command(place, text, True) for place, text in lines if text.startswith("penstock ")]
        for place, line in read_prose(path):
            found += [
                Command(place, span[1], False) for span in _SPAN.finditer(line) if span[1].startswith("penstock ")
            ]
    return found


def commands_of_code() -> list[Command]:
    """Every `penstock …` that a message of ours names, in backticks or on a line of an example."""
    found: list[Command] = []
    for path in (path for path in SOURCES if "penstock " in path.read_text()):  # few; to parse them all takes seconds
        for text, number in _texts(path):
            place = Place(path, number)
            spans = [span[1] for span in _SPAN.finditer(text) if span[1].startswith("penstock ")]
            found += [Command(place, span, False) for span in spans]
            lines = re.findall(r"(?:^ {2,}|: +)(penstock .+?)(?:   .*)?$", text, re.MULTILINE)
            found += [Command(place, line, True) for line in lines]
    return found


def _texts(path: Path) -> Iterator[tuple[str, int]]:
    """The texts of a module, with `{}` where a value is put in."""
    tree = ast.parse(path.read_text())
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield "".join(str(part) for part in parts), node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value, node.lineno


def split_command(text: str) -> list[list[str]]:
    """The arguments of a command of ours, without `penstock` and what a shell does with it; one list for each
    alternative in `list|show`.
    """
    words = shlex.split(text.replace("--environment {}", "--environment live"), comments=True)[1:]
    end = next((place for place, word in enumerate(words) if word in {"|", "<", ">", "&&", "2>"}), len(words))
    ways: list[list[str]] = [[]]
    for word in words[:end]:
        choices = word.split("|") if re.fullmatch(r"[\w-]+(\|[\w-]+)+", word) else [word]
        ways = [[*way, choice] for way in ways for choice in choices]
    return ways


def check_command(words: list[str], *, is_whole: bool) -> str | None:
    """What is wrong with a command of ours, against the real commands; None for nothing. One that is not whole has
    only to exist, and to have the options that are named.
    """
    if is_whole:
        return _parse([_sample(word) for word in words if word != "…"])
    named = words[: words.index("…")] if "…" in words else words
    return _look_up([_sample(word) for word in named])


@cache
def _inert_program() -> TyperGroup:
    """The real commands, which read their command line and then do nothing."""
    program = get_command(build_program())
    assert isinstance(program, TyperGroup)
    groups = [program]
    while groups:
        for command in groups.pop().commands.values():
            if isinstance(command, TyperGroup):
                groups.append(command)
            if command.callback is not None:
                command.callback = _do_nothing
    return program


def _do_nothing(**_: object) -> None:
    pass


def _parse(words: list[str]) -> str | None:
    said = StringIO()
    with chdir(ROOT), redirect_stderr(said), redirect_stdout(said):
        try:
            _inert_program().main(words, prog_name="penstock")
        except SystemExit as end:
            return said.getvalue() if end.code else None
    raise AssertionError("the program ends by leaving the process")


def _sample(word: str) -> str:
    name, separator, value = word.partition("=")
    if word.startswith("<") or "{}" in word or word.endswith("…"):
        return _SAMPLES["ID"]
    return f"{name}={_SAMPLES.get(value, value)}" if separator else _SAMPLES.get(word, word)


def _look_up(words: list[str]) -> str | None:
    group = _inert_program()
    parameters, is_group = group.params, True
    while is_group and words and not words[0].startswith("-"):
        name, *words = words
        if name not in group.commands:
            return f"there is no command {name}"
        found = group.commands[name]
        parameters, is_group = found.params, isinstance(found, TyperGroup)
        if isinstance(found, TyperGroup):
            group = found
    options = {"--help", "-h", "--version"}
    options |= {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}
    takes_words = any(isinstance(parameter, TyperArgument) for parameter in parameters)
    if unknown := [word for word in words if word.startswith("-") and word.partition("=")[0] not in options]:
        return f"there is no option {unknown[0]}"
    return f"it takes no {words[0]}" if words and not words[0].startswith("-") and not takes_words else None


def links(path: Path) -> Iterator[tuple[Place, str]]:
    """The targets of the links and pictures in a document."""
    for place, line in read_prose(path):
        for found in _LINK.finditer(_SPAN.sub("", line)):
            yield place, found[1]


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    heads = [line.lstrip("#").strip() for _, line in read_prose(path) if re.match(r"#{1,6} ", line)]
    return frozenset(re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads)


def is_there(path: Path, target: str) -> bool:
    """Whether a link from the document at `path` leads somewhere. What is not of this project is not looked at."""
    name, _, anchor = target.partition("#")
    if re.match(r"[a-z]+:", name):
        return True
    leads_to = (path.parent / name).resolve() if name else path
    return leads_to.exists() and (not anchor or (leads_to.suffix == ".md" and anchor in anchors(leads_to)))


def requests_of_documents() -> list[tuple[Place, str, str]]:
    """Every path that a sentence names, with its methods; without any, GET. A part of a path is not one."""
    found: list[tuple[Place, str, str]] = []
    for document in (path for path in DOCUMENTS if path.name != "CHANGELOG.md"):
        for place, line in read_prose(document):
            for span in _SPAN.finditer(line):
                asked = re.fullmatch(r"(?:([A-Z]+(?:\|[A-Z]+)*) )?(/(?!/)[^ ]*)", span[1])
                if asked and asked[2] not in {"/", *_PARTS_OF_PATHS, *_OF_OTHERS}:
                    found += [(place, method, asked[2]) for method in (asked[1] or "GET").split("|")]
    return found
