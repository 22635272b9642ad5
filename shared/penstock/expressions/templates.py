"""JSON trees whose texts embed expressions as `${…}`.

A text that is only `${…}` takes the expression's value and type. In a longer text values are written out: numbers
without `.0`, booleans as true and false, null as nothing, lists and objects as JSON. `$${` stands for a literal `${`.
Keys are never templates.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from penstock import exact_json
from penstock.expressions.language import Expression, compile_expression
from penstock.expressions.tokens import ExpressionError

_Scope = Mapping[str, JsonValue]
_Render = Callable[[_Scope], JsonValue]
_Compile = partial[Expression]
_QUOTES: Final = "'\"`"


class Embedded(NamedTuple):
    """An expression found in a text, without its `${` and `}`, and where it starts."""

    source: str
    offset: int


class Template:
    """A compiled tree. `is_constant` says that no text of it embeds an expression; `expressions` are those it embeds.

    `secrets` are the names of the secrets they read.
    """

    __slots__ = ("_constant", "_render", "expressions", "is_constant", "roots", "secrets")

    def __init__(self, constant: JsonValue, render: _Render | None, expressions: tuple[Expression, ...]) -> None:
        self._constant = constant
        self._render = render
        self.expressions = expressions
        self.is_constant = render is None
        self.roots = frozenset(root for expression in expressions for root in expression.roots)
        self.secrets = frozenset(name for expression in expressions for name in expression.secrets)

    def evaluate(self, scope: _Scope) -> JsonValue:
        """The tree with every expression replaced by its value in this scope; not to be changed. Raises
        ExpressionError.
        """
        return self._constant if self._render is None else self._render(scope)


def compile_template(
    value: JsonValue, place: str = "", names: Collection[str] | None = None, rewritten: Mapping[str, str] | None = None
) -> Template:
    """Compiles all expressions in the texts of a JSON tree; the rest as for `compile_expression`.

    Raises ExpressionError, whose offset counts from the start of the text the expression stands in.
    """
    expressions: list[Expression] = []
    render = _compile(value, partial(compile_expression, place=place, names=names, rewritten=rewritten), expressions)
    if callable(render):
        return Template(None, render, tuple(expressions))
    return Template(render, None, ())


def split_text(text: str, place: str = "") -> Iterator[str | Embedded]:
    """The literal and the embedded parts of a text, in order. Raises ExpressionError for a `${` that is not closed."""
    literal: list[str] = []
    position = 0
    while (start := text.find("${", position)) >= 0:
        if start > position and text[start - 1] == "$":
            literal.append(text[position : start - 1] + "${")
            position = start + 2
            continue
        end = _closing_brace(text, start + 2)
        if end is None:
            raise ExpressionError(
                place, text[start:], "${ is opened and not closed with } (write $${ for a literal ${)", start
            )
        literal.append(text[position:start])
        if joined := "".join(literal):
            yield joined
        literal.clear()
        yield Embedded(text[start + 2 : end], start + 2)
        position = end + 1
    literal.append(text[position:])
    if joined := "".join(literal):
        yield joined


def write_value(value: JsonValue) -> str:
    """A value as it stands inside a text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return exact_json.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _closing_brace(text: str, position: int) -> int | None:
    """Where the `}` of an embedded expression is: braces nest, and those inside quotes do not count."""
    depth = 0
    while position < len(text):
        character = text[position]
        if character in _QUOTES:
            closing = text.find(character, position + 1)
            if closing < 0:
                return None
            position = closing
        elif character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                return position
            depth -= 1
        position += 1
    return None


def _compile(value: JsonValue, compile: _Compile, found: list[Expression]) -> JsonValue | _Render:
    """A function of the scope where an expression is embedded somewhere below, else the constant itself."""
    if isinstance(value, str):
        return _compile_text(value, compile, found)
    if isinstance(value, list):
        return _compile_list([_compile(item, compile, found) for item in value])
    if isinstance(value, dict):
        return _compile_object({key: _compile(item, compile, found) for key, item in value.items()})
    return value


def _compile_text(text: str, compile: _Compile, found: list[Expression]) -> str | _Render:
    if "${" not in text:
        return text
    parts: list[str | Expression] = []
    place: str = compile.keywords["place"]
    for part in split_text(text, place):
        if isinstance(part, str):
            parts.append(part)
            continue
        try:
            parts.append(compile(part.source))
        except ExpressionError as error:
            offset = None if error.offset is None else error.offset + part.offset
            raise ExpressionError(
                place, part.source, error.reason, offset if offset is not None else part.offset
            ) from None
    found.extend(part for part in parts if isinstance(part, Expression))
    if len(parts) == 1:
        return parts[0] if isinstance(parts[0], str) else parts[0].compile()
    return lambda scope: "".join(
        [part if isinstance(part, str) else write_value(part.evaluate(scope)) for part in parts]
    )


def _compile_list(items: list[JsonValue | _Render]) -> JsonValue | _Render:
    constants = [None if callable(item) else item for item in items]
    renders = [(index, item) for index, item in enumerate(items) if callable(item)]
    if not renders:
        return constants

    def render(scope: _Scope) -> JsonValue:
        rendered = constants.copy()
        for index, item in renders:
            rendered[index] = item(scope)
        return rendered

    return render


def _compile_object(members: dict[str, JsonValue | _Render]) -> JsonValue | _Render:
    constants = {key: None if callable(item) else item for key, item in members.items()}
    renders = [(key, item) for key, item in members.items() if callable(item)]
    if not renders:
        return constants

    def render(scope: _Scope) -> JsonValue:
        rendered = constants.copy()  # in the order in which the members are written
        for key, item in renders:
            rendered[key] = item(scope)
        return rendered

    return render
