"""Finds text that looks like an expression and is none, so that nobody mails `{{ name }}` or stores `params.name`."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from penstock.expressions import ExpressionError, compile_expression
from penstock.expressions.inference import Mismatch, infer
from penstock.expressions.kinds import Kind
from penstock.expressions.templates import Embedded, split_text

_ROOTS: Final = "params|steps|secrets|webhook|request|change|item|run|user|state|run_event|recurrence"
_DOUBLED: Final = re.compile(r"(?<![{'\"])\{\{\s*([^{}]{1,200}?)\s*\}\}(?!\})")
_OTHER: Final = re.compile(
    rf"(?<![\w$])(?:\$(?P<bare>(?:{_ROOTS})(?:\.\w+)+)|[$#%]?[{{(]\s*(?P<held>(?:{_ROOTS})(?:\.\w+)+)\s*[}})])"
)
_BARE: Final = re.compile(rf"(?<![\w.$])(?:{_ROOTS})(?:\.\w+)+")
_CERTAIN: Final = re.compile(r"(?:params|steps|secrets)(?:\.\w+)+")
_ELSEWHERE: Final = re.compile(r"^(?:inputs|parameters|vars|env|github\.event\.inputs|\$json|payload|event)\.")


class Lookalike(NamedTuple):
    """What looks like an expression, where it begins in the text, and what to write."""

    written: str
    offset: int
    hint: str


def find_lookalikes(text: str, names: frozenset[str], kinds: Mapping[str, Kind]) -> Iterator[Lookalike]:
    """Those in a text that is evaluated where `names` are in scope."""
    if "{{" not in text and "." not in text:
        return
    for literal, start in _literals(text):
        for match in _DOUBLED.finditer(literal):
            meant = _ELSEWHERE.sub("params.", match[1].partition("|")[0].strip())
            members = kinds["params"].members if "params" in kinds else None
            meant = f"params.{meant}" if meant in (members or ()) else meant
            hint = f"write ${{{meant}}}; for the braces themselves write ${{'{{{{'}} {match[1]} }}}}"
            yield Lookalike(match[0], start + match.start(), hint)
        for match in _OTHER.finditer(literal):
            meant = match["bare"] or match["held"]
            is_doubled = literal[max(match.start() - 1, 0)] == "{"
            if meant.partition(".")[0] in names and not is_doubled:
                yield Lookalike(match[0], start + match.start(), f"write ${{{meant}}}")
    if "${" not in text and "." in text and is_expression(text.strip(), names, kinds):
        yield Lookalike(text.strip(), 0, f'write "${{{text.strip()}}}"')


def _literals(text: str) -> Iterator[tuple[str, int]]:
    """The parts of a text outside `${…}`, each with its place."""
    if "${" not in text:
        yield text, 0
        return
    position = 0
    try:
        embedded = [part for part in split_text(text) if isinstance(part, Embedded)]
    except ExpressionError:
        return
    for part in embedded:
        yield text[position : part.offset - 2], position
        position = part.offset + len(part.source) + 1
    yield text[position:], position


def is_expression(text: str, names: frozenset[str], kinds: Mapping[str, Kind]) -> bool:
    """Whether the whole text reads as an expression that may be meant: of names in scope, with members they have."""
    match = _BARE.search(text)
    if text == "now":
        return text in names
    if match is None or len(text) > 200 or match[0].partition(".")[0] not in names:
        return False
    if _CERTAIN.fullmatch(text):
        return True
    try:
        expression = compile_expression(text, names=names)
        infer(text, kinds)
    except (ExpressionError, Mismatch):
        return False
    return all(reference.path[1:] for reference in expression.references)
