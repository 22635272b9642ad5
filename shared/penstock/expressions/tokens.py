"""Reads the tokens of an expression: which names it refers to, and what zen-engine would accept although it cannot be
meant.

zen answers null for a name it does not know, assigns with a single `=`, reads the machine's clock in `d()`, builds
ranges of any size, and never finds two lists equal. All of these are errors here, so that they show at deploy and not
in a run.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, NamedTuple

from penstock.errors import Permanent
from penstock.expressions.functions import FUNCTION_TABLE, METHODS
from penstock.expressions.habits import OTHER_FUNCTIONS, OTHER_METHODS, OTHER_NAMES, find_slip

MAX_RANGE: Final = 10_000
MAX_EXACT: Final = 2**53
MAX_LENGTH: Final = 10_000
MAX_NESTING: Final = 100
"""Of brackets. What they make nests as deep, and so does every function that walks it."""
CLOSURES: Final = frozenset({"all", "some", "none", "filter", "map", "count", "one", "flatMap"})
"""The functions whose second argument is evaluated for each item of the first, as `#` or under an alias (`map(list as
x, x.a)`).
"""
FUNCTIONS: Final = frozenset(FUNCTION_TABLE)
_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "true", "false", "null"})
CLOSERS: Final = {"(": ")", "[": "]", "{": "}", "${": "}"}
_TOKEN: Final = re.compile(
    r"(?P<space>[ "
    r"\t\n\r]+)|(?P<name>[A-Za-z_$#][A-Za-z0-9_$#]*)|(?P<number>\d[\d_]*(?:\.(?!\.)[\d_]*)?(?:[eE][+-]?\d+)?)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")|(?P<sign>\.\.|\?\?|==|!=|<=|>=|&&|\|\||[-+*/%^<>!=?:,.;()\[\]{}`])"
)
_REFUSED_SIGNS: Final = {
    "=": "= would assign; compare with ==",
    ";": "only one expression may stand here; remove the ;",
    "&&": "&& is written `and`",
    "||": "|| is written `or` (or ?? to stand in for null)",
}


class ExpressionError(Permanent):
    """An expression cannot be compiled or evaluated. The text names the place, the expression, and what is wrong with
    it.

    `offset` is where in the compiled text the trouble starts, counted from 0, or None when that is not known.
    """

    def __init__(self, place: str, source: str, reason: str, offset: int | None = None) -> None:
        shown = source if len(source) <= 200 else f"{source[:200]}…"
        super().__init__(f"{place}: `{shown}`: {reason}" if place else f"`{shown}`: {reason}", kind="expression")
        self.place = place
        self.source = source
        self.reason = reason
        self.offset = offset


class Reference(NamedTuple):
    """A name an expression reads: `path` is the root and the members that follow it literally (`("params", "owner",
    "name")`).
    """

    path: tuple[str, ...]
    offset: int


class Token(NamedTuple):
    """A name, number, text or sign of an expression, and where it starts."""

    kind: str
    text: str
    offset: int


class Reading(NamedTuple):
    """What the tokens of an expression say: the names it reads, and whether it works with dates."""

    references: tuple[Reference, ...]
    uses_dates: bool
    tokens: tuple[Token, ...]


class Unreadable(Exception):
    """The tokens make no acceptable expression; `offset` is where that shows."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


_NOTHING: Final = Token("end", "", 0)


def tokenize(source: str) -> list[Token]:
    """The tokens of an expression, those embedded in its `…${}…` texts included. Raises Unreadable."""
    tokens: list[Token] = []
    open_signs: list[str] = []
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise Unreadable(_unknown_character(source[position]), position)
        token = Token(match.lastgroup or "", match[0], position)
        position = match.end()
        if token.text == "`":
            position = _skip_text(source, position, tokens, open_signs)
            continue
        if token.kind == "space":
            continue
        tokens.append(token)
        if token.text in CLOSERS:
            open_signs.append(token.text)
        elif token.text in ")]}" and open_signs and open_signs.pop() == "${":
            position = _skip_text(source, position, tokens, open_signs)
    return tokens


def _skip_text(source: str, position: int, tokens: list[Token], open_signs: list[str]) -> int:
    """Past the literal part of a backtick text: to its end, or into its next `${`."""
    end = source.find("`", position)
    embedded = source.find("${", position)
    if end < 0:
        raise Unreadable("a ` is opened and not closed", position - 1)
    if 0 <= embedded < end:
        tokens.append(Token("sign", "${", embedded))
        open_signs.append("${")
        return embedded + 2
    tokens.append(Token("text", "`", end))
    return end + 1


def _unknown_character(character: str) -> str:
    if character in "'\"":
        return f"a {character} is opened and not closed"
    if character == "|":
        return "a filter such as `a | upper` is written upper(a)"
    return f"{character!r} has no meaning in an expression (quote it if it is text)"


@dataclass(slots=True)
class _Frame:
    opener: Token
    is_closure: bool = False
    expects_key: bool = False
    has_range: bool = False
    aliases: set[str] = field(default_factory=set)


class _Reader:
    """Walks the tokens once, keeping the brackets that are open."""

    def __init__(self, tokens: list[Token], names: Collection[str] | None) -> None:
        self.tokens = tokens
        self.names = names
        self.frames: list[_Frame] = []
        self.references: list[Reference] = []
        self.uses_dates = False

    def token(self, index: int) -> Token:
        return self.tokens[index] if 0 <= index < len(self.tokens) else _NOTHING

    def read(self) -> Reading:
        slip = find_slip([token.text for token in self.tokens], [token.kind for token in self.tokens])
        if slip is not None:
            raise Unreadable(slip.reason, self.tokens[slip.position].offset)
        index = 0
        while index < len(self.tokens):
            token = self.tokens[index]
            if token.kind == "name":
                index = self.read_name(index)
                continue
            if token.kind == "sign":
                self.read_sign(index)
            elif token.kind == "number":
                _check_number(token)
            index += 1
        if self.frames:
            opener = self.frames[-1].opener
            raise Unreadable(f"{opener.text} is opened and not closed", opener.offset)
        return Reading(tuple(self.references), self.uses_dates, tuple(self.tokens))

    def read_sign(self, index: int) -> None:
        sign = self.tokens[index].text
        offset = self.tokens[index].offset
        if sign in _REFUSED_SIGNS:
            raise Unreadable(_REFUSED_SIGNS[sign], offset)
        if sign in CLOSERS:
            before = self.token(index - 1)
            is_closure = sign == "(" and before.text in CLOSURES and self.token(index - 2).text != "."
            if len(self.frames) == MAX_NESTING:
                raise Unreadable(
                    f"brackets nest more than {MAX_NESTING} deep; compute a part in an earlier step", offset
                )
            self.frames.append(_Frame(self.tokens[index], is_closure, expects_key=sign == "{"))
        elif sign in ")]}":
            self.close(self.tokens[index])
        elif sign in {",", ":"} and self.frames and self.frames[-1].opener.text == "{":
            self.frames[-1].expects_key = sign == ","
        elif sign == "..":
            self.check_range(index)
        elif sign == "?" and self.token(index + 1).text == ".":
            raise Unreadable("a member of null is null already; write . instead of ?.", offset)
        elif sign in {"==", "!="} and self.token(index + 1).text in {"[", "{"}:
            raise Unreadable("lists and objects are never equal; compare their parts, or len(…) with 0", offset)

    def close(self, token: Token) -> None:
        if not self.frames:
            raise Unreadable(f"{token.text} closes nothing", token.offset)
        frame = self.frames.pop()
        expected = CLOSERS[frame.opener.text]
        if token.text != expected and not (frame.has_range and token.text in ")]"):
            raise Unreadable(f"{token.text} stands where {expected} should close {frame.opener.text}", token.offset)

    def check_range(self, index: int) -> None:
        low = index - 2 if self.token(index - 2).text == "-" else index - 1
        high = index + 2 if self.token(index + 1).text == "-" else index + 1
        ends = (self.token(index - 1), self.token(high))
        is_bracketed = self.token(low - 1).text in {"[", "("} and self.token(high + 1).text in {"]", ")"}
        if not is_bracketed or any(end.kind != "number" or _number(end) > MAX_RANGE for end in ends):
            raise Unreadable(
                f"a range needs two numbers from -{MAX_RANGE} to {MAX_RANGE}, such as [1..10]",
                self.tokens[index].offset,
            )
        if not self.takes_range(low - 2):
            raise Unreadable("a range is not a list by itself; write map([1..10], #)", self.tokens[low - 1].offset)
        self.frames[-1].has_range = True

    def takes_range(self, index: int) -> bool:
        """Whether what stands before a range, also in brackets, is something that goes through ranges."""
        while self.token(index).text == "(" and self.token(index - 1).kind != "name":
            index -= 1
        before = self.token(index - 1).text
        return self.token(index).text == "in" or (
            self.token(index).text == "(" and (before == "in" or before in CLOSURES)
        )

    def read_name(self, index: int) -> int:
        """Takes a name and the members that follow it; returns the index of what comes next."""
        token, following = self.tokens[index], self.token(index + 1)
        if self.token(index - 1).text == "." and following.text == "(" and token.text not in METHODS:
            raise Unreadable(_unknown_method(token.text, self.path_before(index - 1)), token.offset)
        if token.text in _KEYWORDS or self.token(index - 1).text == ".":
            return index + 1
        if self.is_alias(index):
            self.frames[-1].aliases.add(following.text)
            return index + 2
        if following.text == "(":
            self.check_function(index)
            return index + 1
        if self.frames and self.frames[-1].expects_key and following.text == ":":
            return index + 1
        if token.text == "#":
            if not any(frame.is_closure for frame in self.frames):
                raise Unreadable(f"# has a meaning only inside {', '.join(sorted(CLOSURES))}", token.offset)
            return index + 1
        if any(token.text in frame.aliases for frame in self.frames):
            return index + 1
        self.check_name(token)
        path, index = self.read_members(index)
        self.references.append(Reference(path, token.offset))
        return index

    def path_before(self, index: int) -> str:
        """The names and dots that end before the token at `index`, as they are written."""
        first = index
        while self.token(first - 1).kind == "name" and first >= 1:
            first -= 1
            if self.token(first - 1).text != ".":
                break
            first -= 1
        return "".join(token.text for token in self.tokens[first:index]) or "…"

    def is_alias(self, index: int) -> bool:
        before, following = self.token(index - 1), self.token(index + 1)
        ends_value = before.kind in {"name", "text"} or before.text in {")", "]", "}"}
        in_closure = bool(self.frames) and self.frames[-1].is_closure
        return self.tokens[index].text == "as" and following.kind == "name" and ends_value and in_closure

    def read_members(self, index: int) -> tuple[tuple[str, ...], int]:
        path = [self.tokens[index].text]
        index += 1
        while True:
            first, second, third = (self.token(index + step) for step in range(3))
            if first.text == "." and second.kind == "name" and third.text != "(":
                path.append(second.text)
                index += 2
            elif first.text == "[" and second.kind == "text" and second.text != "`" and third.text == "]":
                path.append(second.text[1:-1])
                index += 3
            else:
                return tuple(path), index

    def check_function(self, index: int) -> None:
        name = self.tokens[index]
        if name.text not in FUNCTIONS:
            hint = f"; {OTHER_FUNCTIONS[name.text]}" if name.text in OTHER_FUNCTIONS else ""
            raise Unreadable(f"unknown function {name.text!r}{hint or did_you_mean(name.text, FUNCTIONS)}", name.offset)
        if name.text == "d":
            self.uses_dates = True
            if self.token(index + 2).text == ")":
                raise Unreadable("d() would read the machine's clock; write d(now)", name.offset)

    def check_name(self, token: Token) -> None:
        if self.names is None and token.text[0] not in "$#":
            return
        if self.names is None or token.text not in self.names:
            known = self.names or ()
            if token.text in OTHER_NAMES:
                raise Unreadable(f"unknown name {token.text!r}; {OTHER_NAMES[token.text]}", token.offset)
            listed = f"; in scope here: {', '.join(sorted(known))}" if known else ""
            raise Unreadable(f"unknown name {token.text!r}{did_you_mean(token.text, known) or listed}", token.offset)


def read_names(source: str, names: Collection[str] | None) -> Reading:
    """The names `source` refers to. With `names`, any other root is an error. Raises Unreadable."""
    if len(source) > MAX_LENGTH:
        raise Unreadable(f"an expression may have {MAX_LENGTH} characters, this one has {len(source)}", 0)
    tokens = tokenize(source)
    if not tokens:
        raise Unreadable("the expression is empty", 0)
    return _Reader(tokens, names).read()


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`; did you mean 'email'?`, or nothing when no known word is near."""
    near = get_close_matches(word, sorted(known), n=1, cutoff=0.6) or get_close_matches(
        word.casefold(), sorted(name for name in known if name.casefold() == word.casefold()), n=1, cutoff=0
    )
    return f"; did you mean {near[0]!r}?" if near else ""


def _unknown_method(name: str, written: str) -> str:
    name = OTHER_METHODS.get(name, name)
    if name in FUNCTIONS:
        more = ", …" if len(FUNCTION_TABLE[name].takes) > 1 else ""
        return f"only dates have methods; write {name}({written}{more})"
    hint = f"; {OTHER_FUNCTIONS[name]}" if name in OTHER_FUNCTIONS else did_you_mean(name, METHODS)
    return f"unknown method {name!r}{hint}"


def _number(token: Token) -> float:
    return float(token.text.replace("_", ""))


def _check_number(token: Token) -> None:
    if _number(token) > MAX_EXACT:
        raise Unreadable(f"{token.text} has more digits than a number keeps; write it as text, in quotes", token.offset)
