"""Explains what YAML's parser refuses: slips of indentation, quotes and brackets."""

from typing import Final, NamedTuple

_BLOCKS: Final = ("<block mapping start>", "<block sequence start>", "<block end>", "'-'", "'?'")
_INDENTATION: Final = "a slip of indentation"
_COLUMN: Final = "keys that belong together stand in one column"
_COLON: Final = "write key: value, with a colon and a space"
_QUOTE: Final = "put a text with a colon and a space in quotes"
_OPEN: Final = frozenset({"", "|", ">", "|-", ">-", "|+", ">+"})


class _Line(NamedTuple):
    """A line that is neither empty nor a comment: its number, its indentation, and what stands there."""

    number: int
    indent: int
    text: str

    @property
    def key_at(self) -> int:
        """Where the line's first key begins: a dash before it counts as indentation."""
        return self.indent + len(self.text) - len(self.text.lstrip("- ")) if self.text.startswith("- ") else self.indent


class Slip(NamedTuple):
    """What is wrong, in words; empty where the parser's have to do. And what to do about it."""

    message: str
    hint: str


def explain(text: str, index: int, reason: str) -> Slip:
    """What a syntax error at `index` means, for which the parser gives `reason`."""
    return Slip("", hint) if (hint := _explain_characters(text, index, reason)) else _explain_lines(text, index, reason)


def _explain_characters(text: str, index: int, reason: str) -> str:
    character = text[index : index + 1]
    if text[index - 1 : index + 1] == "${":
        return 'put texts with ${…} in quotes inside { } and [ ], such as "${params.name}"'
    if character == "\t":
        return "indent with spaces, not with tabs"
    if "while scanning a quoted scalar" in reason or "unexpected end of stream" in reason:
        return "a quote is opened and not closed"
    if "escape" in reason:
        return "inside double quotes a backslash begins an escape; use single quotes"
    if "cannot start any token" in reason or "alphabetic or numeric" in reason:
        return f"put a text that begins with {text[_begin(text, index)]} in quotes"
    if "stream end" in reason and ("','" in reason or "']'" in reason or "'}'" in reason):
        return "a bracket is opened and not closed"
    if "found '<scalar>'" in reason:
        return "the quotes end before the text does; put all of it in the other kind of quotes"
    if "could not find expected ':'" in reason:
        return _COLON
    return ""


def _begin(text: str, index: int) -> int:
    """The character that the parser could not read, or the `*` or `&` before it."""
    return index - 1 if text[index - 1 : index] in {"*", "&"} else min(index, len(text) - 1)


def _explain_lines(text: str, index: int, reason: str) -> Slip:
    lines = [
        _Line(number, len(line) - len(line.lstrip(" ")), line.strip())
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    number = text.count("\n", 0, index) + 1
    here = next((line for line in lines if line.number >= number), None)
    before = [line for line in lines if line.number < number]
    if here is None or not before:
        return Slip("", _QUOTE if "mapping values are not allowed" in reason else "")
    if "mapping values are not allowed" in reason:
        is_first_colon = ":" not in text[text.rfind("\n", 0, index) + 1 : index]
        return _explain_depth(here, before[-1]) if is_first_colon else Slip("", _QUOTE)
    if any(block in reason for block in _BLOCKS):
        return _explain_column(here, before)
    return Slip("", "")


def _explain_depth(here: _Line, above: _Line) -> Slip:
    """A line below `key: value` that is indented further than the key."""
    key, colon, value = above.text.lstrip("- ").partition(":")
    if not colon:
        return Slip("", f"in line {above.number}, {_COLON}")
    if here.indent > above.key_at and value.strip() not in _OPEN:
        message = f"{_INDENTATION}: this line is indented by {here.indent}, and {key!r} above it has a value already"
        return Slip(message, _COLUMN)
    return Slip("", _QUOTE)


def _explain_column(here: _Line, before: list[_Line]) -> Slip:
    """A line that stands in a column where none above it begins."""
    above = before[-1]
    if above.indent == here.indent != above.key_at:
        message = f"{_INDENTATION}: this line stands in the column of the dash above it"
        return Slip(message, f"indent it by {above.key_at}, as what belongs to the dash")
    message = f"{_INDENTATION}: this line is indented by {here.indent} and line {above.number} by {above.key_at}"
    return Slip(message, _COLUMN)
