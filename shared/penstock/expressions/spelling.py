"""Spells an expression so that zen-engine does what it says.

zen takes no member named `true` or `false`, and it counts a text's bytes where `len(…)`, `[a:b]` and `[i]` should count
its characters. Functions of our own are not possible, so each is spelled with functions that do count characters.
"""

from collections.abc import Sequence
from typing import Final

from penstock.expressions.tokens import CLOSERS, Reference, Token, Unreadable

MAX_SPELLED: Final = 60_000
"""Characters: lengths and slices inside each other double the text each time."""
_MAX_INDEXES: Final = 6
LENGTH: Final = "penstock_length_"
_BEYOND: Final = 2**40
"""An index that no text has."""
_OPENERS: Final = frozenset(CLOSERS)
_AFTER_VALUE: Final = frozenset({")", "]", "}"})
_MAKE_LISTS: Final = frozenset({"map", "filter", "flatMap", "flatten", "split", "extract", "keys", "values"})
_NO_VALUES: Final = frozenset({"and", "or", "not", "in"})


def spell(source: str, tokens: Sequence[Token]) -> str:
    """`source`, of these tokens, as zen is given it; the same text where nothing has to change. Raises Unreadable."""
    if not _needs_spelling(tokens):
        return source
    return _Speller(source, tokens).render(0, len(tokens), 0)


def counts_characters(spelled: str, source: str) -> bool:
    """Whether texts are taken apart, which costs with their length."""
    return spelled != source and ("len(split(" in spelled or "extract(" in spelled)


def replace_lengths(
    source: str, tokens: Sequence[Token], references: Sequence[Reference]
) -> tuple[str, tuple[Reference, ...]]:
    """`source` with the name LENGTH + `0`, `1` … for each `len(…)` of nothing but a reference; and these references."""
    paths = {reference.offset: reference for reference in references}
    taken: list[Reference] = []
    parts: list[str] = []
    position = 0
    for index, token in enumerate(tokens):
        reference = paths.get(tokens[index + 2].offset) if index + 2 < len(tokens) else None
        before = tokens[index - 1].text if index else ""
        if token.text != "len" or reference is None or tokens[index + 1].text != "(" or before == ".":
            continue
        close = next(place for place in range(index, len(tokens)) if tokens[place].text == ")")
        if ".".join(reference.path) != "".join(token.text for token in tokens[index + 2 : close]):
            continue
        parts += [source[position : token.offset], f"{LENGTH}{len(taken)}"]
        position = tokens[close].offset + 1
        taken.append(reference)
    return "".join((*parts, source[position:])), tuple(taken)


def _needs_spelling(tokens: Sequence[Token]) -> bool:
    before = Token("start", "", 0)
    for token in tokens:
        if token.text == "len" or (before.text == "." and token.text in {"true", "false"}):
            return True
        if token.text == "[" and _ends_value(before):
            return True
        before = token
    return False


def _ends_value(token: Token) -> bool:
    return (token.kind == "name" and token.text not in _NO_VALUES) or token.text in _AFTER_VALUE


class _Speller:
    def __init__(self, source: str, tokens: Sequence[Token]) -> None:
        self.source = source
        self.tokens = tokens
        self.indexes = sum(token.text == "[" for token in tokens)

    def text(self, index: int) -> str:
        return self.tokens[index].text if index < len(self.tokens) else ""

    def end(self, index: int) -> int:
        """Where the token ends in the source."""
        return self.tokens[index].offset + len(self.tokens[index].text)

    def closing(self, opener: int) -> int:
        """The token that closes the bracket which this token opens: any kind, as in the range `[1..5)`."""
        depth = 0
        for index in range(opener, len(self.tokens)):
            depth += self.text(index) in _OPENERS
            depth -= self.text(index) in _AFTER_VALUE
            if depth == 0:
                return index
        return len(self.tokens) - 1

    def render(self, low: int, high: int, start: int) -> str:
        """The tokens from `low` up to `high`, with what stands between them; `start` is where that begins."""
        parts: list[str] = []
        index, position = low, start
        while index < high:
            parts.append(self.source[position : self.tokens[index].offset])
            value, index = self.value(index, high)
            parts.append(value)
            position = self.end(index - 1)
        return "".join(parts)

    def value(self, index: int, high: int) -> tuple[str, int]:
        """A value with its members, calls and indexes, or a single sign; and the token that follows."""
        first, token = index, self.tokens[index]
        if token.kind == "name" and token.text not in _NO_VALUES:
            value, index = self.called(index, token.text)
        elif token.text in {"(", "["}:
            value, index = self.bracketed(index)
        else:
            return token.text, index + 1
        is_list = self.is_list(first, index)
        while index < high:
            if self.text(index) == "." and self.tokens[index + 1].kind == "name":
                name = self.text(index + 1)
                if name in {"true", "false"}:
                    value, index = f'{value}["{name}"]', index + 2
                else:
                    call, index = self.called(index + 1, name)
                    value = f"{value}.{call}"
            elif self.text(index) == "[" and is_list:
                whole, index = self.bracketed(index)
                value = value + whole
            elif self.text(index) == "[":
                value, index = self.indexed(value, index)
            else:
                break
            is_list = False
        return value, index

    def called(self, index: int, name: str) -> tuple[str, int]:
        if self.text(index + 1) != "(":
            return name, index + 1
        arguments, after = self.bracketed(index + 1)
        is_method = index > 0 and self.text(index - 1) == "."
        if name != "len" or is_method or self.is_list(index + 2, after - 1):
            return name + arguments, after
        if self.find(",", index + 1) is not None:
            return name + arguments, after
        return self.checked(f"(type{arguments} == 'string' ? len(split({arguments}, '')) - 2 : len{arguments})"), after

    def checked(self, spelled: str) -> str:
        if len(spelled) > MAX_SPELLED:
            raise Unreadable("too many lengths and slices stand inside each other; compute some in an earlier step", 0)
        return spelled

    def is_list(self, low: int, high: int) -> bool:
        """Whether these tokens are nothing but a call that makes a list, whatever it is given."""
        return self.text(low) in _MAKE_LISTS and self.text(low + 1) == "(" and self.closing(low + 1) == high - 1

    def bracketed(self, opener: int) -> tuple[str, int]:
        close = self.closing(opener)
        inside = self.render(opener + 1, close, self.end(opener))
        gap = self.source[self.end(close - 1) : self.tokens[close].offset]
        return f"{self.text(opener)}{inside}{gap}{self.text(close)}", close + 1

    def indexed(self, value: str, opener: int) -> tuple[str, int]:
        close = self.closing(opener)
        whole, after = self.bracketed(opener)
        colon = self.find(":", opener)
        if colon is None:
            is_literal = close == opener + 2 and self.tokens[opener + 1].kind == "text"
            if is_literal or self.indexes > _MAX_INDEXES:
                return value + whole, after
            place = f"split({value}, '')[({whole[1:-1]}) + 1]"
            return self.checked(f"(type({value}) == 'string' ? {place} : {value}{whole})"), after
        low = self.render(opener + 1, colon, self.end(opener)).strip() or "0"
        high = self.render(colon + 1, close, self.end(colon)).strip()
        taken = f"'}}(.{{' + string(({high}) - ({low}) + 1) + '}})'" if high else "'}(.*)'"
        found = f"extract({value}, '(?s)^.{{' + string({low}) + {taken})[1]"
        # Where nothing matches, zen is to complain of the index.
        return self.checked(f"(type({value}) == 'string' ? {found} ?? {value}[{_BEYOND}:] : {value}{whole})"), after

    def find(self, sign: str, opener: int) -> int | None:
        """The sign that stands directly in the bracket; the `:` of a condition `a ? b : c` is not that of a slice."""
        depth = questions = 0
        for index in range(opener + 1, self.closing(opener)):
            text = self.text(index)
            depth += text in _OPENERS
            depth -= text in _AFTER_VALUE
            questions += text == "?" and depth == 0
            if text == sign and depth == 0:
                if text != ":" or questions == 0:
                    return index
                questions -= 1
        return None
