"""How the command line speaks: tables and trees for people, JSON for programs, one line on standard error for what went
wrong.

All that is printed leaves through here, where what a terminal would act on becomes visible: texts that strangers sent
are in runs, logs and files, and a person who looks at them trusts the terminal.
"""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, NoReturn

import orjson
import typer
from pydantic import BaseModel, JsonValue
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from penstock import exact_json
from penstock.cli.tables import FittedTable, fit_table, measure_cells
from penstock.domain.states import RunState
from penstock.visible import make_json_visible, make_visible

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_STATE_STYLES: Final = {
    RunState.SCHEDULED: "cyan",
    RunState.QUEUED: "cyan",
    RunState.RUNNING: "bright_blue",
    RunState.WAITING: "cyan",
    RunState.SUCCEEDED: "green",
    RunState.FAILED: "red",
    RunState.SKIPPED: "bright_black",
    RunState.CANCELLED: "yellow",
    RunState.TERMINATED: "magenta",
}
_MAX_VALUE: Final = 400
_WIDEST: Final = 1000


class VisibleConsole(Console):
    """A console that hands nothing to a terminal that it would act on, but for its own colours. Texts that were made by
    `show_text` have the right width too.
    """

    def __init__(self, *, width: int | None = None, stderr: bool = False) -> None:
        super().__init__(highlight=False, emoji=False, width=width, stderr=stderr)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """As rich renders it, segment by segment."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(make_visible(text), style)


console = VisibleConsole()


def print_json(value: object) -> None:
    """`value` as indented JSON on standard output; ids and times as texts."""
    typer.echo(make_json_visible(exact_json.dumps(value, option=orjson.OPT_INDENT_2, default=_to_json).decode()))


def print_json_line(value: object) -> None:
    """`value` as JSON on one line, for what has no end."""
    typer.echo(make_json_visible(exact_json.dumps(value, option=orjson.OPT_UTC_Z, default=_to_json).decode()))


def _to_json(value: object) -> object:
    return value.model_dump() if isinstance(value, BaseModel) else str(value)


def print_json_list(
    results: Iterable[object], *, after: str | None = None, about: Mapping[str, object] | None = None
) -> None:
    """A list as the management API answers it: `{"results": […], "after": …}`, after what is said `about` all of it.

    `after` asks for the next page; null when there is none.
    """
    print_json({**(about or {}), "results": list(results), "after": after})


def say(message: str, *, is_error: bool = False) -> None:
    """A line of plain text on standard output, or standard error."""
    typer.echo(make_visible(message), err=is_error)


def print_text(text: str) -> None:
    """A piece of plain text on standard output, without a line end of its own."""
    typer.echo(make_visible(text), nl=False)


def complain(message: str) -> None:
    """Say on standard error what went wrong."""
    typer.secho(_break_lines(make_visible(f"penstock: {message}")), err=True, fg=typer.colors.RED)


def _break_lines(text: str) -> str:
    """The text with line ends between its words, where a terminal on standard error would break it within one."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    wrapper = textwrap.TextWrapper(width=width, break_long_words=False, break_on_hyphens=False, drop_whitespace=False)
    return "\n".join("\n".join(part.strip() for part in wrapper.wrap(line)) for line in text.split("\n"))


def fail(message: str) -> NoReturn:
    """Say what went wrong and end with exit code 1."""
    complain(message)
    raise typer.Exit(1)


def show_state(state: RunState) -> str:
    """A state in its colour, as markup."""
    return f"[{_STATE_STYLES[state]}]{state}[/]"


def show_time(moment: datetime | None) -> str:
    """A time in UTC, to the millisecond; `-` for none."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}Z"


def show_seconds(start: datetime | None, end: datetime | None) -> str:
    """How long it took from `start` to `end`; `-` while one of them is missing."""
    if start is None or end is None:
        return "-"
    seconds = (end - start).total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def show_number(value: float) -> str:
    """A number with separators: whole ones and large ones with all digits before the point, others with six in all."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100_000 else f"{value:,.6g}"


def show_count(count: int, thing: str) -> str:
    """How many there are: `1 run`, `2 runs`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def show_text(text: str) -> str:
    """A text of somebody else, as markup that shows all of it."""
    return escape(make_visible(text))


def make_text(text: str, style: str = "") -> Text:
    """The same, for where rich takes a text instead of markup."""
    return Text(make_visible(text), style=style)


def show_value(value: JsonValue, length: int = _MAX_VALUE) -> str:
    """A JSON value on one line, as markup; cut when it is long (`--json` shows all of it)."""
    text = exact_json.dumps(value).decode()
    return show_text(text if len(text) <= length else f"{text[:length]}…")


def make_table(
    *columns: str,
    numbers: Sequence[str] = (),
    droppable: Sequence[str] = (),
    elastic: Sequence[str] = (),
    wrapped: str | None = None,
) -> Table:
    """A plain table; columns in `numbers` are aligned to the right.

    In a narrow terminal the texts of `elastic` columns are cut, then `droppable` columns are left out, the least
    important first. Texts of the `wrapped` column continue on the next line, between words where possible; by default
    those of every column do.
    """
    table = FittedTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.droppable, table.elastic = droppable, elastic
    for column in columns:
        is_rigid = wrapped is not None and column != wrapped
        justify: Literal["right", "left"] = "right" if column in numbers else "left"
        table.add_column(column, justify=justify, overflow="ellipsis" if is_rigid else "fold", no_wrap=is_rigid)
    return table


def print_table(table: Table) -> None:
    """In a terminal at most as wide as that: ids are shortened and columns left out. Elsewhere as wide as it is, so
    that every id can be searched, cut and copied.
    """
    if console.is_terminal:
        console.print(fit_table(table, console.width, _measure))
    else:
        _print_plain(table, max(_measure(table), console.width))


def print_whole(parts: Group) -> None:
    """Tables and texts, one below the other: in a terminal as wide as that, elsewhere as wide as they are."""
    if console.is_terminal:
        console.print(parts)
    else:
        width = Measurement.get(console, console.options.update(max_width=_WIDEST), parts).maximum
        _print_plain(parts, max(width, console.width))


def _print_plain(renderable: RenderableType, width: int) -> None:
    """Print without the spaces with which a terminal's lines are filled up."""
    wide = VisibleConsole(width=width)
    with wide.capture() as captured:
        wide.print(renderable)
    print_text("\n".join(line.rstrip() for line in captured.get().split("\n")))


def _measure(table: Table) -> int:
    # rich gives an empty column one character, which it does not measure
    empty = sum(measure_cells(column) == 0 for column in table.columns)
    return Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum + empty


def fits(lines: Sequence[str]) -> bool:
    """Whether no line of markup is wider than the terminal; what is not printed to a terminal fits."""
    return not console.is_terminal or all(Text.from_markup(line).cell_len <= console.width for line in lines)


def print_words(line: str) -> None:
    """A line of markup, which in a terminal is continued between words."""
    console.print(line, soft_wrap=not console.is_terminal)


def print_lines(lines: Sequence[str]) -> None:
    """Lines of markup, each as long as it is."""
    for line in lines:
        console.print(line, soft_wrap=True)


def make_facts() -> Table:
    """A table of two columns without a head: what, and its value."""
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    return facts
