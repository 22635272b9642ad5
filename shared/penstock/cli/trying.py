"""`penstock eval`: tries one expression, without an app and without a database."""

from datetime import UTC, datetime
from typing import Annotated, Final, NoReturn

import typer
from pydantic import JsonValue

from penstock import exact_json
from penstock.cli.output import AsJson, complain, console, print_json, print_words, say, show_text
from penstock.definitions.values import format_date
from penstock.expressions import ExpressionError, compile_expression
from penstock.expressions.inference import Mismatch, infer
from penstock.expressions.kinds import DATE, kind_of_value
from penstock.expressions.language import describe_type
from penstock.expressions.templates import write_value

_EXAMPLES: Final = """Examples:

  penstock eval "1 + 2 * 3"

  penstock eval "sum(params.xs) * 2" --params '{"xs": [1, 2]}'

  penstock eval "d(now).add('3d').format('%Y-%m-%d')"

docs/expressions.md lists every operator and function. Exits with 1 when the expression is wrong, and shows where."""
_MAX_SHOWN: Final = 100
"""Characters of a line that a caret stands under."""


def add_commands(program: typer.Typer) -> None:
    """Add `eval`."""
    program.command("eval", epilog=_EXAMPLES, rich_help_panel="Build")(evaluate)


def evaluate(
    expression: Annotated[
        str, typer.Argument(metavar="EXPRESSION", help="As it stands in `when`, or inside ${…}.", show_default=False)
    ],
    params: Annotated[
        str, typer.Option("--params", metavar="JSON", help="An object: what `params` is.", show_default=False)
    ] = "{}",
    as_json: AsJson = False,
) -> None:
    """Try an expression: its value, or what is wrong with it and where. `params` and `now` are in scope."""
    parameters = _read_parameters(params)
    scope: dict[str, JsonValue] = {"params": parameters, "now": format_date(datetime.now(UTC))}
    try:
        compiled = compile_expression(expression, names=scope)
        infer(expression, {"params": kind_of_value(parameters), "now": DATE})
        value = compiled.evaluate(scope)
    except ExpressionError as error:
        _end(expression, error.reason, error.offset, parameters)
    except Mismatch as error:
        reason = "; ".join(part for part in (error.reason, error.hint) if part)
        _end(expression, reason, error.offset, parameters)
    if as_json:
        print_json({"value": value, "type": describe_type(value)})
    elif console.is_terminal:
        print_words(f"[bold]{show_text(_written(value))}[/]  [dim]{describe_type(value)}[/]")
    else:
        say(_written(value))


def _written(value: JsonValue) -> str:
    return "null" if value is None else write_value(value)


def _read_parameters(text: str) -> dict[str, JsonValue]:
    try:
        value: JsonValue = exact_json.loads(text)
    except (ValueError, RecursionError):
        raise typer.BadParameter("this is not JSON", param_hint="--params") from None
    if not isinstance(value, dict):
        raise typer.BadParameter('parameters are an object, such as {"n": 3}', param_hint="--params")
    return value


def _end(expression: str, reason: str, offset: int | None, parameters: dict[str, JsonValue]) -> NoReturn:
    """Show what is wrong, with how parameters are given where none were, and end with exit code 1."""
    _show_problem(expression, reason, offset)
    if not parameters and "params" in expression:
        say('  `params` is empty; give it as JSON: --params \'{"name": "value"}\'', is_error=True)
    raise typer.Exit(1)


def _show_problem(expression: str, reason: str, offset: int | None) -> None:
    """The message, and below it the line of the expression with a caret under the place."""
    complain(reason)
    if offset is None:
        return
    begin = expression.rfind("\n", 0, offset) + 1
    line = expression[begin:].partition("\n")[0]
    column = min(offset - begin, len(line))
    first = max(0, column - _MAX_SHOWN // 2)
    shown = line[first : first + _MAX_SHOWN].replace("\t", " ")
    say(f"  {shown}\n  {' ' * (column - first)}^", is_error=True)
