"""What people write who know other languages, and how it is written here: hints for messages, nothing more."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

OTHER_FUNCTIONS: Final[Mapping[str, str]] = {
    "range": "write map([1..10], #) for a list of numbers",
    "json": "a value that is only ${…} keeps its type; inside a longer text, objects are written as JSON",
    "format": "write d(now).format('%Y-%m-%d') for a date; put values into a text as `…${…}…`",
    "size": "write len(…)",
    "length": "write len(…)",
    "str": "write string(…)",
    "String": "write string(…)",
    "int": "write number(…), and trunc(…) to cut off decimals",
    "float": "write number(…)",
    "Number": "write number(…)",
    "parseInt": "write number(…), and trunc(…) to cut off decimals",
    "parseFloat": "write number(…)",
    "boolean": "write bool(…)",
    "toUpperCase": "write upper(…)",
    "toLowerCase": "write lower(…)",
    "strip": "write trim(…)",
    "any": "write some(list, condition) with # for the item",
    "every": "write all(list, condition) with # for the item",
    "find": "write filter(list, condition)[0] with # for the item",
    "first": "write list[0]",
    "last": "write list[len(list) - 1]",
    "sorted": "a list is sorted where it is found: `find` takes sort",
    "sort": "a list is sorted where it is found: `find` takes sort",
    "reduce": "write sum(…), max(…), merge(…), or compute it in Python",
    "concat": "write merge([a, b]) for lists, a + b for texts",
    "join": "texts are put together with +; a list is joined in Python",
    "replace": "texts are not replaced in expressions; compute it in Python",
    "now": "write now, without brackets",
    "today": "write d(now).startOf('day')",
    "isinstance": "write type(a) == 'string'",
    "typeof": "write type(a) == 'string'",
    "coalesce": "write a ?? b",
    "default": "write a ?? b",
    "ifnull": "write a ?? b",
    "if": "write a ? b : c",
    "iif": "write a ? b : c",
    "exists": "write a != null",
    "defined": "write a != null",
    "not_null": "write a != null",
}
"""Functions there are elsewhere, by name."""
OTHER_METHODS: Final[Mapping[str, str]] = {
    "toUpperCase": "upper",
    "toLowerCase": "lower",
    "strip": "trim",
    "startswith": "startsWith",
    "endswith": "endsWith",
    "includes": "contains",
    "toString": "string",
    "toFixed": "round",
    "every": "all",
    "any": "some",
    "length": "len",
    "size": "len",
}
"""Methods there are elsewhere, and the function that does the same here."""
OTHER_NAMES: Final[Mapping[str, str]] = {
    "None": "write null",
    "nil": "write null",
    "undefined": "write null",
    "NULL": "write null",
    "True": "write true",
    "TRUE": "write true",
    "False": "write false",
    "FALSE": "write false",
    "ctx": "ctx is for Python; here are params, steps, run, now …",
    "self": "write # for the item of a list",
    "this": "write # for the item of a list",
    "it": "write # for the item of a list",
    "parameters": "write params.NAME",
    "inputs": "write params.NAME",
    "env": "secrets and settings are read as secrets.NAME",
    "today": "write d(now).startOf('day')",
    "current_user": "write user",
    "datetime": "write now, or d(a) to work with a date",
    "Date": "write now, or d(a) to work with a date",
    "Math": "functions stand by themselves: round(…), floor(…), abs(…)",
    "JSON": "a value that is only ${…} keeps its type; inside a longer text, objects are written as JSON",
}
"""Names that stand for something elsewhere."""


class Slip(NamedTuple):
    """What is wrong with the token at `position`."""

    reason: str
    position: int


def find_slip(texts: Sequence[str], kinds: Sequence[str]) -> Slip | None:
    """The first construct of another language among the tokens of an expression."""
    for index, text in enumerate(texts):
        if kinds[index] == "text":
            continue
        following = texts[index + 1] if index + 1 < len(texts) else ""
        reason = _name_slip(texts, kinds, index) if kinds[index] == "name" else _sign_slip(text, following)
        if reason:
            return Slip(reason, index)
    return None


def _name_slip(texts: Sequence[str], kinds: Sequence[str], index: int) -> str:
    text = texts[index]
    before, following = (texts[index - 1] if index else ""), (texts[index + 1] if index + 1 < len(texts) else "")
    if before == "." or following in {"(", ":"} or not _ends_value(before, kinds[index - 1] if index else ""):
        return ""
    if text == "for" and "in" in texts[index:]:
        return "[x for x in list] is written map(list, #), with # for the item"
    if text == "is" and following in {"None", "null", "not", "nil", "undefined"}:
        return "`is not None` is written != null" if following == "not" else "`is None` is written == null"
    if text == "is" and following in {"defined", "empty", "none", "undefined"}:
        return f"`is {following}` is written {'!=' if following == 'defined' else '=='} null"
    if text in {"if", "unless"}:
        return "`a if b else c` is written b ? a : c"
    if text in {"AND", "OR", "NOT", "IN"}:
        return f"{text} is written {text.lower()}, in small letters"
    return ""


def _ends_value(text: str, kind: str) -> bool:
    return kind in {"name", "text", "number"} or text in {")", "]", "}"}


def _sign_slip(text: str, following: str) -> str:
    if text == "=" and following == ">":
        return "a function `x => …` is written with # for the item: map(list, #.name)"
    if text in {"==", "!="} and following == "=":
        return f"{text}= is written {text}"
    if text == "*" and following == "*":
        return "a power ** is written ^"
    if text == "/" and following == "/":
        return "whole division // is written floor(a / b)"
    if text == "<" and following == ">":
        return "<> is written !="
    if text in {"+", "-"} and following == "=":
        return "expressions change nothing; write a `state:` step to keep a value"
    return ""
