"""YAML 1.2 into nodes that know their place. ruamel.yaml reads the events, everything after that is bounded here.

Plain scalars follow the core schema (`on`, `yes` and `no` are texts). Duplicate keys, tags, numbers that JSON cannot
hold, nesting beyond MAX_DEPTH, files beyond MAX_FILE_BYTES and aliases that expand to more than MAX_NODES are problems,
as is every syntax error.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamStartEvent,
)

from penstock.expressions.language import tidy
from penstock.expressions.tokens import MAX_EXACT
from penstock.reading.places import Place, Problem, Report, SourceFile, shorten
from penstock.reading.slips import explain
from penstock.storable import UNSTORABLE_REASON, is_storable

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 40
MAX_NODES: Final = 100_000
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: Final[dict[str, JsonValue]] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A single value; `text` is how it was written, `value` what it means."""

    place: Place
    text: str
    value: JsonValue


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A list of nodes."""

    place: Place
    items: "tuple[Node, ...]"
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """Keys, with their own places, and values, in the order they were written."""

    place: Place
    entries: "dict[str, tuple[Scalar, Node]]"
    size: int


Node = Scalar | Sequence | Mapping


class _Mark(Protocol):
    index: int


class _Refused(Exception):
    """A document cannot be taken; the problem is in the report already, or said here."""


def read_documents(file: str, data: bytes, report: Report) -> list[Node]:
    """The documents of a file, empty ones left out. After a problem with the file as a whole, those before it; it never
    raises.
    """
    if len(data) > MAX_FILE_BYTES:
        return _give_up(
            report, Problem(file, None, None, f"the file is larger than {MAX_FILE_BYTES // 1024} KiB", hint="split it")
        )
    try:
        source = SourceFile(file, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _give_up(report, Problem(file, line, None, "the file is not UTF-8", hint="save it with that encoding"))
    documents: list[Node] = []
    builder = _Builder(source, report)
    try:
        documents.extend(
            document for document in builder.read() if not (isinstance(document, Scalar) and document.value is None)
        )
    except _Refused:
        report.is_partial = True
    except YAMLError as error:
        _give_up(report, _syntax_problem(source, error))
    except Exception as error:  # ruamel.yaml lets some IndexErrors and ValueErrors of its own through
        _give_up(report, Problem(file, None, None, f"the file cannot be read as YAML ({type(error).__name__})"))
    return documents


def to_json(node: Node) -> JsonValue:
    """The plain value of a node."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [to_json(item) for item in node.items]
        case Mapping():
            return {key: to_json(value) for key, (_, value) in node.entries.items()}


def describe(node: Node) -> str:
    """What a node is, in the words of the messages."""
    if isinstance(node, Scalar):
        if node.value is None:
            return "nothing"
        return {bool: "true or false", str: "text"}.get(type(node.value), "a number")
    return "a list" if isinstance(node, Sequence) else "a mapping"


def _give_up(report: Report, problem: Problem) -> list[Node]:
    report.is_partial = True
    report.problems.append(problem)
    return []


def _syntax_problem(source: SourceFile, error: YAMLError) -> Problem:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    index = mark.index if mark is not None else getattr(error, "position", None)
    if not isinstance(index, int):
        return Problem(source.name, None, None, f"this is not YAML: {error}".partition("\n")[0])
    reason = str((isinstance(error, MarkedYAMLError) and error.problem) or error).partition("\n")[0]
    context = str((isinstance(error, MarkedYAMLError) and error.context) or "")
    slip = explain(source.text, index, f"{context} {reason}")
    if "not closed" in slip.hint and isinstance(error, MarkedYAMLError) and error.context_mark is not None:
        index = error.context_mark.index
    line, column = source.locate(min(index, len(source.text)))
    message = slip.message or f"this is not YAML: {reason}"
    return Problem(source.name, line, column, message, hint=slip.hint, is_exact=True)


class _Builder:
    """Builds the nodes of one file from its events, one document at a time."""

    def __init__(self, source: SourceFile, report: Report) -> None:
        self.source = source
        self.report = report
        self.events: Iterator[object] = iter(YAML(typ="safe", pure=True).parse(source.text))
        self.anchors: dict[str, Node | None] = {}
        self.nodes = 0

    def read(self) -> Iterator[Node]:
        for event in self.events:
            if isinstance(event, StreamStartEvent):
                continue
            if not isinstance(event, DocumentStartEvent):
                return
            self.anchors.clear()
            yield self.build(next(self.events), depth=0)
            next(self.events)

    def build(self, event: object, depth: int) -> Node:
        place = self.place(event)
        if depth > MAX_DEPTH:
            raise self.refuse(place, f"this is nested more than {MAX_DEPTH} deep")
        self.count(place, 1)
        if isinstance(event, AliasEvent):
            return self.follow(event, place)
        if not isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent):
            raise self.refuse(place, "this is not YAML")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        node: Node
        if isinstance(event, ScalarEvent):
            node = self.scalar(event, place)
        elif isinstance(event, SequenceStartEvent):
            node = self.sequence(event, place, depth)
        else:
            node = self.mapping(event, place, depth)
            node = self.refuse_doubled(node.place) if self.is_doubled(place) else node
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def scalar(self, event: ScalarEvent, place: Place) -> Scalar:
        is_plain = bool(event.implicit[0]) and event.style is None
        tag = None if event.tag is None else str(event.tag)
        if tag not in {None, "!", "tag:yaml.org,2002:str"}:
            hint = "write the plain value" if str(tag).startswith("tag:") else "put a text that begins with ! in quotes"
            self.report.error(place, "tags such as !!int are not supported", hint)
            return Scalar(place, "", None)  # of what is refused, nothing more is said
        if not is_storable(event.value):
            self.report.error(
                place,
                UNSTORABLE_REASON,
                "leave it out",
            )
        return Scalar(place, event.value, self.resolve(event.value, place) if is_plain and tag is None else event.value)

    def resolve(self, text: str, place: Place) -> JsonValue:
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            value = int(text, 0) if text.startswith(("0o", "0x")) else int(text) if len(text) < 40 else MAX_EXACT
            if abs(value) >= MAX_EXACT:
                self.report.error(
                    place, f"{shorten(text, 30)} has more digits than a number keeps", "put it in quotes if it is text"
                )
            return value
        if _NOT_FINITE.fullmatch(text) or (_FLOAT.fullmatch(text) and not math.isfinite(float(text))):
            self.report.error(
                place, f"{shorten(text, 30)} is not a number that JSON can hold", "put it in quotes if it is text"
            )
            return 0
        return tidy(float(text)) if _FLOAT.fullmatch(text) else text

    def sequence(self, event: SequenceStartEvent, place: Place, depth: int) -> Sequence:
        self.check_tag(event, place)
        before = self.nodes
        items: list[Node] = []
        while not self.is_end(following := next(self.events)):
            items.append(self.build(following, depth + 1))
        return Sequence(self.until(place, following), tuple(items), self.nodes - before + 1)

    def mapping(self, event: MappingStartEvent, place: Place, depth: int) -> Mapping:
        self.check_tag(event, place)
        before = self.nodes
        entries: dict[str, tuple[Scalar, Node]] = {}
        while not self.is_end(following := next(self.events)):
            key = self.build(following, depth + 1)
            value = self.build(next(self.events), depth + 1)
            if self.is_doubled(place):
                continue
            if not isinstance(key, Scalar) or not key.text:
                self.report.error(key.place, "a key has to be text", "put it in quotes")
            elif key.text in entries:
                line = self.source.locate(entries[key.text][0].place.start)[0]
                self.report.error(
                    key.place, f"duplicate key {shorten(key.text)!r}", f"it stands in line {line} already"
                )
            else:
                entries[key.text] = (key, value)
        return Mapping(self.until(place, following), entries, self.nodes - before + 1)

    def is_doubled(self, place: Place) -> bool:
        """Whether this is `{{ name }}` without quotes, which YAML takes for a mapping with a mapping as its key."""
        return self.source.text.startswith("{{", place.start)

    def refuse_doubled(self, place: Place) -> Scalar:
        """Reports it, once, as what it is; what stands for it is of no known type."""
        written = self.source.text[place.start : place.end].strip("{} ")
        self.report.error(place, "{{ }} puts nothing in here", f'write "${{{shorten(written)}}}" in quotes')
        return Scalar(place, "${null}", "${null}")

    def follow(self, event: AliasEvent, place: Place) -> Node:
        if event.anchor not in self.anchors:
            name = shorten(event.anchor)
            message, hint = f"no anchor &{name} stands before *{name}", "put a text that begins with * in quotes"
            raise self.refuse(place, message, hint)
        node = self.anchors[event.anchor]
        if node is None:
            raise self.refuse(place, f"*{shorten(event.anchor)} stands inside what it repeats, which would never end")
        self.count(place, 1 if isinstance(node, Scalar) else node.size)
        return node

    def count(self, place: Place, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise self.refuse(place, f"the file has more than {MAX_NODES} values once its anchors are expanded")

    def check_tag(self, event: SequenceStartEvent | MappingStartEvent, place: Place) -> None:
        if event.tag is not None and not event.implicit:
            self.report.error(place, "tags such as !!set are not supported", "write a plain list or mapping")

    def refuse(self, place: Place, message: str, hint: str = "") -> _Refused:
        self.report.error(place, message, hint)
        return _Refused(message)

    def is_end(self, event: object) -> bool:
        return type(event).__name__ in {"SequenceEndEvent", "MappingEndEvent"}

    def place(self, event: object) -> Place:
        start: _Mark | None = getattr(event, "start_mark", None)
        end: _Mark | None = getattr(event, "end_mark", None)
        return Place(self.source, start.index if start else 0, end.index if end else 0)

    def until(self, place: Place, event: object) -> Place:
        return Place(place.file, place.start, self.place(event).end)
