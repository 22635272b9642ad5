"""Infers the kind of an expression's value from the kinds of the names in scope, and finds what cannot be meant:
members that do not exist, operators and functions that are given what they do not take.

It never refuses what it does not understand: then the kind is ANYTHING. zen-engine infers no types itself, so this
reads the same tokens as `tokens`, once more, by precedence; that they form an expression is zen's word already.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from penstock.expressions.functions import ACCEPTED, FUNCTION_TABLE, METHODS, Function
from penstock.expressions.kinds import (
    ANYTHING,
    BOOLEAN,
    MOMENT,
    NULL,
    NUMBER,
    OBJECT,
    TEXT,
    Kind,
    join,
    list_of,
    object_of,
)
from penstock.expressions.lookups import Rewriting
from penstock.expressions.members import explain_member, explain_method
from penstock.expressions.operators import BINDS, Misuse, check_condition, combine, negate
from penstock.expressions.tokens import CLOSURES, Token, Unreadable, tokenize

_END: Final = Token("end", "", 0)
_WORDS: Final = {"true": BOOLEAN, "false": BOOLEAN, "null": NULL}
NO_THINGS: Final[Mapping[str, Kind]] = {}
_KINDS: Final = {"number": NUMBER, "text": TEXT, "boolean": BOOLEAN, "moment": MOMENT, "list": list_of(ANYTHING)}


class Mismatch(Exception):
    """An expression uses a value as its kind does not allow, at `offset`; `hint` says what to write."""

    def __init__(self, reason: str, offset: int, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.hint = hint


class _Lost(Exception):
    """The tokens are not understood here."""


def infer(source: str, names: Mapping[str, Kind], things: Mapping[str, Kind] = NO_THINGS) -> Kind:
    """The kind of the value of `source`, which compiles; names not in `names` may be anything. Raises Mismatch.

    With `things`, the kinds of the things of each data type, and of the attributes of each option set, members are
    read through ids and options.
    """
    return infer_rewriting(source, names, things)[0]


def infer_rewriting(
    source: str, names: Mapping[str, Kind], things: Mapping[str, Kind]
) -> tuple[Kind, Rewriting | None]:
    """The kind of the value of `source`, and how it is rewritten if it reads through ids. Raises Mismatch."""
    try:
        reader = _Reader(source, tokenize(source), names, things, Rewriting(source))
        kind = reader.expression()
    except (_Lost, Unreadable, RecursionError):
        return ANYTHING, None
    if reader.position != len(reader.tokens):
        return ANYTHING, None
    return kind, reader.rewriting if reader.rewriting.lookups else None


@dataclass(slots=True)
class _Reader:
    source: str
    tokens: list[Token]
    names: Mapping[str, Kind]
    things: Mapping[str, Kind]
    rewriting: Rewriting
    position: int = 0
    items: list[Kind] = field(default_factory=list)
    """What `#` is, innermost last."""
    aliases: list[tuple[str, Kind]] = field(default_factory=list)
    lists: list[tuple[int, int, str]] = field(default_factory=list)
    """The lists that are gone through: from where to where they stand, and the alias of their items."""

    def peek(self, ahead: int = 0) -> Token:
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else _END

    def take(self) -> Token:
        token = self.peek()
        self.position += 1
        return token

    def accept(self, text: str) -> bool:
        found = self.peek().text == text and self.peek().kind != "text"
        self.position += found
        return found

    def expect(self, *texts: str) -> Token:
        if self.peek().text not in texts:
            raise _Lost
        return self.take()

    def refuse(self, reason: str, offset: int, hint: str = "") -> NoReturn:
        raise Mismatch(reason, offset, hint)

    def expression(self) -> Kind:
        """A condition `a ? b : c`, or what binds closer."""
        offset = self.peek().offset
        kind = self.operation(0)
        if not self.accept("?"):
            return kind
        try:
            check_condition("? :", kind)
        except Misuse as error:
            self.refuse(error.reason, offset, error.hint)
        chosen = self.expression()
        self.expect(":")
        return join((chosen, self.expression()))

    def operation(self, floor: int) -> Kind:
        left = self.operand()
        while (sign := self.operator()) and (binds := BINDS[sign]) > floor:
            offset = self.peek().offset
            self.position += 1 + (sign == "not in")
            right = self.operation(binds - 1 if sign == "^" else binds)
            try:
                left = combine(sign, left, right)
            except Misuse as error:
                self.refuse(error.reason, offset, error.hint)
        return left

    def operator(self) -> str:
        token = self.peek()
        if token.kind == "text":
            return ""
        if token.text == "not" and self.peek(1).text == "in":
            return "not in"
        return token.text if token.text in BINDS else ""

    def operand(self) -> Kind:
        token = self.peek()
        if token.kind != "text" and token.text in {"-", "+", "not", "!"}:
            self.position += 1
            kind = self.operand()
            try:
                return negate(token.text, kind)
            except Misuse as error:
                self.refuse(error.reason, token.offset, error.hint)
        start = self.position
        kind = self.primary()
        return self.members(kind, start)

    def primary(self) -> Kind:
        token = self.take()
        if token.kind == "number":
            return NUMBER
        if token.kind == "text":
            return TEXT
        if token.text == "${":
            return self.template()
        if token.text == "(":
            return self.bracketed()
        if token.text == "[":
            return self.list_literal()
        if token.text == "{":
            return self.object_literal()
        if token.kind == "name":
            return self.name(token)
        raise _Lost

    def name(self, token: Token) -> Kind:
        """A word such as `true`, a function, `#`, an alias, or a name in scope."""
        if token.text in _WORDS:
            return _WORDS[token.text]
        if self.peek().text == "(":
            return self.call(token)
        if token.text == "#":
            return self.items[-1] if self.items else ANYTHING
        for alias, kind in reversed(self.aliases):
            if alias == token.text:
                return kind
        return self.names.get(token.text, ANYTHING)

    def bracketed(self) -> Kind:
        kind = self.expression()
        if self.accept(".."):
            self.expression()
            self.expect(")", "]")
            return list_of(NUMBER)
        self.expect(")")
        return kind

    def template(self) -> Kind:
        """The rest of a backtick text."""
        while True:
            self.expression()
            self.expect("}")
            if self.peek().text != "${":
                break
            self.position += 1
        if self.take().text != "`":
            raise _Lost
        return TEXT

    def list_literal(self) -> Kind:
        items: list[Kind] = []
        while not self.accept("]"):
            items.append(self.expression())
            if self.accept(".."):
                self.expression()
                self.expect("]", ")")
                return list_of(NUMBER)
            if not self.accept(","):
                self.expect("]")
                break
        return list_of(join(items) if items else ANYTHING)

    def object_literal(self) -> Kind:
        members: dict[str, Kind] = {}
        is_open = False
        while not self.accept("}"):
            key = self.take()
            if key.text == "[":
                self.expression()
                self.expect("]")
                is_open = True
            self.expect(":")
            members[key.text[1:-1] if key.kind == "text" else key.text] = self.expression()
            if not self.accept(","):
                self.expect("}")
                break
        return OBJECT if is_open else object_of(members)

    def members(self, kind: Kind, start: int) -> Kind:
        """What follows a value: members, methods, indexes."""
        while True:
            if self.accept("."):
                name = self.take()
                if name.kind != "name":
                    raise _Lost
                kind = (
                    self.method(kind, name, start)
                    if self.peek().text == "("
                    else self.member(kind, name.text, name.offset, start)
                )
            elif self.peek().text == "[" and self.peek().kind == "sign":
                kind = self.index(kind, start)
            else:
                return kind

    def written(self, start: int, end: int) -> str:
        return self.source[self.tokens[start].offset : self.tokens[end].offset].rstrip()

    def member(self, kind: Kind, name: str, offset: int, start: int) -> Kind:
        if not kind.is_decided or (kind.word == "object" and kind.members is None):
            return ANYTHING
        written = self.written(start, self.position - (3 if self.tokens[self.position - 1].text == "]" else 2))
        behind = kind.of or kind.options
        if kind.word == "text" and behind in self.things and name != "_id":
            begin = self.tokens[start].offset
            self.rewriting.look_up(behind, begin, begin + len(written), self.lists)
            kind = self.things[behind]
        known = None if kind.members is None else kind.members.get(name)
        if known is not None:
            return known
        reason, hint = explain_member(kind, name, written)
        raise Mismatch(reason, offset, hint)

    def index(self, kind: Kind, start: int) -> Kind:
        first = self.peek(1)
        if first.kind == "text" and first.text != "`" and self.peek(2).text == "]":
            self.position += 3
            return self.member(kind, first.text[1:-1], first.offset, start)
        self.position += 1
        if kind.word == "object" and kind.members is not None and first.kind == "number" and self.peek(1).text == "]":
            written = self.written(start, self.position - 1)
            listed = next((name for name, member in kind.members.items() if member.word == "list"), "")
            hint = f"write {written}.{listed}[{first.text}]" if listed else f"name a member, as in {written}.id"
            self.refuse(f"{written} is {kind}, not a list", first.offset, hint)
        is_slice = self.accept(":")
        if not (is_slice and self.peek().text == "]"):
            self.expression()
        if self.accept(":"):
            is_slice = True
            if self.peek().text != "]":
                self.expression()
        self.expect("]")
        if kind.word == "list":
            return kind if is_slice else kind.item or ANYTHING
        return TEXT if kind.is_text else ANYTHING

    def method(self, kind: Kind, name: Token, start: int) -> Kind:
        if kind.is_decided and kind.word not in {"moment", "object"}:
            reason, hint = explain_method(kind, name.text, self.written(start, self.position - 2))
            self.refuse(reason, name.offset, hint)
        method = METHODS.get(name.text)
        if method is None:
            raise _Lost
        self.position += 1
        self.check_arguments(name, method, self.arguments())
        return _KINDS[method.gives]

    def arguments(self) -> list[tuple[Kind, int]]:
        given: list[tuple[Kind, int]] = []
        while not self.accept(")"):
            offset = self.peek().offset
            given.append((self.expression(), offset))
            if not self.accept(","):
                self.expect(")")
                break
        return given

    def call(self, name: Token) -> Kind:
        function = FUNCTION_TABLE.get(name.text)
        if function is None:
            raise _Lost
        self.position += 1
        if name.text in CLOSURES:
            return self.closure(name, function)
        given = self.arguments()
        self.check_arguments(name, function, given)
        if function.gives == "item":
            return given[0][0].item or ANYTHING if given else ANYTHING
        if function.gives.startswith("list of "):
            return list_of(_KINDS[function.gives.removeprefix("list of ")])
        return _KINDS.get(function.gives, ANYTHING)

    def check_arguments(self, name: Token, function: Function, given: list[tuple[Kind, int]]) -> None:
        for (kind, offset), wanted in zip(given, function.takes, strict=False):
            item = kind.item or ANYTHING
            is_wrong = kind.is_decided and kind.word not in ACCEPTED[wanted]
            is_wrong |= (
                wanted == "list of numbers" and kind.word == "list" and item.is_decided and item.word != "number"
            )
            if is_wrong:
                example = f"{name.text}(…) takes {_with_article(wanted)}, not {kind}"
                self.refuse(example, offset, _conversion(wanted, kind))

    def closure(self, name: Token, function: Function) -> Kind:
        offset = self.peek().offset
        through = self.expression()
        end = self.peek().offset
        if through.is_decided and through.word != "list":
            self.refuse(f"{name.text}(…) goes through a list, not {through}", offset)
        item = through.item or ANYTHING
        alias = self.take().text if self.accept("as") else ""
        self.expect(",")
        self.lists.append((offset, end, alias))
        self.items.append(item)
        self.aliases.append((alias, item))
        start = self.peek().offset
        body = self.expression()
        self.items.pop()
        self.aliases.pop()
        self.lists.pop()
        self.expect(")")
        if function.takes[1] == "condition":
            try:
                check_condition(f"{name.text}(…)", body)
            except Misuse as error:
                self.refuse(error.reason, start, error.hint)
        given = {"list of item": list_of(item), "list of body": list_of(body)}
        return given.get(function.gives, _KINDS.get(function.gives, ANYTHING))


def _with_article(wanted: str) -> str:
    return wanted if wanted.startswith(("text", "any")) else f"a {wanted}" if wanted != "object" else "an object"


def _conversion(wanted: str, kind: Kind) -> str:
    if "text" in wanted and kind.word in {"number", "boolean"}:
        return "write string(…) to make text of it"
    if wanted == "number" and kind.is_text:
        return "write number(…) to read a number from a text"
    if wanted == "list of numbers" and kind.word == "list":
        return "write sum(map(list, #.total)) to take a number from each item"
    if wanted == "number" and kind.word == "list":
        return "write len(…) for the number of items"
    return ""
