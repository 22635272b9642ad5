"""`penstock data import` and `penstock data export`: things into the database and out of it, as CSV or JSON lines."""

import asyncio
import sys
from codecs import getincrementaldecoder
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NamedTuple, Protocol
from uuid import uuid4

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from penstock.cli.access import Environment, open_installation
from penstock.cli.database import Data
from penstock.cli.import_reports import Counts, ReportHead, count_lines, read_head, report_path, write_report
from penstock.cli.output import AsJson, VisibleConsole, complain, fail, print_json, print_text, say
from penstock.db import Database
from penstock.definitions.models import DataType
from penstock.errors import ConfigurationError, Permanent
from penstock.expressions.tokens import did_you_mean
from penstock.store.deployments import load_current
from penstock.things.exports import ExportRequest, export_things
from penstock.things.imports.batches import BadLine, list_bad_lines
from penstock.things.imports.batches import Progress as ImportProgress
from penstock.things.imports.importing import BATCH_ROWS, MAX_BAD_LINES, ImportRequest, import_things
from penstock.things.tabular import FORMATS, Format

_IMPORT_EXAMPLES: Final = """Examples:

  penstock data import order orders.csv --environment live

  penstock data import order orders.csv --resume   after lines were corrected, or when it was interrupted

Lines that do not fit are named in orders.csv.report.jsonl, the others are imported. Correct those lines in place \
and resume: only what is missing is imported. When nothing is, the report is removed."""
_EXPORT_EXAMPLES: Final = """Examples:

  penstock data export order orders.csv --environment live

  penstock data export order - --format jsonl | jq .total"""
_PIECE: Final = 256 * 1024
_MAX_EXPORT_SECONDS: Final = 24 * 3600.0
_KEEPS: Final = MAX_BAD_LINES + BATCH_ROWS
"""All of them: the import ends with the batch in which there are too many."""

TypeArgument = Annotated[str, typer.Argument(metavar="TYPE", help="Name of the data type.", show_default=False)]
In = Annotated[Environment, typer.Option("--environment", "-e", help="Whose things.")]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="csv or jsonl; by default what the name of the file says, else csv.")
]
ImportRaw = Annotated[
    bool, typer.Option("--raw", help="Keep the apostrophe before what looks like a formula; exports put it there.")
]
ExportRaw = Annotated[
    bool, typer.Option("--raw", help="Put no apostrophe before texts that a spreadsheet would run as a formula.")
]


def add_commands(program: typer.Typer) -> None:
    """Add the group `data`."""
    group = typer.Typer(help="Import things from a file, and export them to one.", no_args_is_help=True)
    group.command("import", epilog=_IMPORT_EXAMPLES)(import_)
    group.command("export", epilog=_EXPORT_EXAMPLES)(export)
    program.add_typer(group, name="data", rich_help_panel="Operate")


def import_(
    type: TypeArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or JSON lines.", exists=True, dir_okay=False, show_default=False)
    ],
    environment: In = Environment.DEVELOPMENT,
    format: FormatOption = None,
    upsert: Annotated[
        list[str] | None,
        typer.Option("--upsert", help="Change the thing that has the same value here; repeat it for several fields."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Import what an earlier import of this file has left out.")
    ] = False,
    raw: ImportRaw = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make things of the lines of a file. Exits with 1 when lines are left out; a report names them."""
    report, lines = report_path(file), count_lines(file)
    wanted = ReportHead(
        import_id=uuid4(), file=str(file), environment=environment, type=type, format=_format_of(format, file),
        upsert=tuple(upsert or ()),
        lines=lines, raw=raw,
    )  # fmt: skip
    head = _resumed(wanted, report) if resume else wanted
    if not resume and read_head(report) is not None:
        fail(
            f"{report} says that an import of this file is not complete; continue with --resume, or remove it to "
            "import everything again"
        )
    counts = asyncio.run(_import(file, report, head, data, is_resumed=resume, shows_progress=not as_json))
    if as_json:
        print_json(
            {"created": counts.created, "updated": counts.updated, "failed": counts.failed, "report": _existing(report)}
        )
    else:
        say(f"created {counts.created}, updated {counts.updated}, failed {counts.failed}")
    if counts.failed:
        left_out = "1 line was" if counts.failed == 1 else f"{counts.failed} lines were"
        complain(f"{left_out} left out; {report} names them. Correct them in {file} and run the same with --resume")
        raise typer.Exit(1)


def _resumed(wanted: ReportHead, report: Path) -> ReportHead:
    """The import to continue. Raises ConfigurationError when there is none, or when something else is wanted now."""
    head = read_head(report)
    if head is None:
        raise ConfigurationError(
            f"there is no {report}, so nothing of this file is left to be imported; leave out --resume to import it"
        )
    for what, was, now in (
        ("environment", head.environment, wanted.environment),
        ("type", head.type, wanted.type),
        ("format", head.format, wanted.format),
        ("upsert", list(head.upsert), list(wanted.upsert)),
        ("--raw", head.raw, wanted.raw),
    ):
        if was != now:
            raise ConfigurationError(f"{report} is of an import with {what} {was or 'none'}, not {now or 'none'}")
    if head.lines != wanted.lines:
        raise ConfigurationError(
            f"{wanted.file} had {head.lines} lines and has {wanted.lines} now; correct lines in place, because they "
            "are identified by their numbers. Import new lines as a file of their own"
        )
    return head


async def _import(
    file: Path, report: Path, head: ReportHead, data: Path | None, *, is_resumed: bool, shows_progress: bool
) -> Counts:
    async with open_installation(data) as database:
        data_type = await _find_type(database, head.environment, head.type)
        before = await _list_bad_lines(database, head) if is_resumed else []
        write_report(report, head, Counts(0, 0, len(before)), before)
        request = ImportRequest(
            id=head.import_id,
            environment=head.environment,
            data_type=data_type,
            format=head.format,
            source=f"file {head.file}",
            upsert=head.upsert,
            keeps=_KEEPS,
            tries_again=frozenset(bad.line for bad in before),
            is_raw=head.raw,
        )
        counts, is_over = Counts(0, 0, len(before)), False

        def note(progress: ImportProgress) -> None:
            nonlocal counts
            counts = Counts(progress.created, progress.updated, progress.failed)

        try:
            with _progress(file.name, file.stat().st_size, is_shown=shows_progress) as advance:
                result = await import_things(database, request, _read(file, advance), progress=note)
            counts, is_over = Counts(result.created, result.updated, result.failed), True
        except Permanent:
            is_over = counts == Counts(0, 0, 0)  # a file of which no line can be read is corrected and imported again
            raise
        finally:
            # Also when it was interrupted: what is bad so far is worth knowing.
            bad_lines = await _list_bad_lines(database, head)
            if is_over and not bad_lines:
                report.unlink()
            else:
                write_report(report, head, counts, bad_lines)
        return counts


async def _list_bad_lines(database: Database, head: ReportHead) -> list[BadLine]:
    async with database.connection() as conn:
        return await list_bad_lines(conn, id=head.import_id, most=_KEEPS)


async def _read(file: Path, advance: Callable[[int], None]) -> AsyncIterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            yield piece
            advance(len(piece))


def export(
    type: TypeArgument,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Where to; `-` is standard output.", dir_okay=False, show_default=False),
    ],
    environment: In = Environment.DEVELOPMENT,
    format: FormatOption = None,
    raw: ExportRaw = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Write all things of a type to a file: those of one moment, the oldest first."""
    wanted = _Wanted(type, environment, _format_of(format, file), raw)
    if str(file) == "-":
        asyncio.run(_export(wanted, data, _Terminal() if sys.stdout.isatty() else sys.stdout.buffer))
        return
    part = file.with_name(file.name + ".part")
    try:
        with part.open("wb") as output:
            count = asyncio.run(_export(wanted, data, output, shows_progress=not as_json))
        part.replace(file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    if as_json:
        print_json({"exported": count, "file": str(file)})
    else:
        say(f"exported {count} to {file}")


class _Wanted(NamedTuple):
    """What is exported, as the command line names it."""

    type: str
    environment: str
    format: Format
    is_raw: bool


class _Output(Protocol):
    """Where an export goes."""

    def write(self, piece: bytes, /) -> object: ...


class _Terminal:
    """A terminal as the place where an export goes: what it would act on becomes visible."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def write(self, piece: bytes) -> None:
        print_text(self._decoder.decode(piece))


async def _export(wanted: _Wanted, data: Path | None, output: _Output, *, shows_progress: bool = False) -> int:
    async with open_installation(data) as database:
        data_type = await _find_type(database, wanted.environment, wanted.type)
        request = ExportRequest(wanted.environment, data_type, wanted.format, is_raw=wanted.is_raw)
        with _progress(wanted.type, None, is_shown=shows_progress) as advance:

            async def write(piece: bytes) -> None:
                output.write(piece)
                advance(len(piece))

            return await export_things(database, request, write=write, seconds=_MAX_EXPORT_SECONDS)


async def _find_type(database: Database, environment: str, name: str) -> DataType:
    async with database.connection() as conn:
        current = await load_current(conn, environment=environment)
    types = {} if current is None else current[1].types
    if name not in types:
        known = (
            f"{did_you_mean(name, types)}; known are {', '.join(sorted(types))}"
            if types
            else "; nothing is deployed there"
        )
        raise ConfigurationError(f"there is no data type {name!r} in {environment}{known}")
    return types[name]


def _format_of(given: str | None, file: Path) -> Format:
    if given is None:
        return "jsonl" if file.suffix.lower() in {".jsonl", ".ndjson"} else "csv"
    for known in FORMATS:
        if given == known:
            return known
    raise typer.BadParameter(f"{given!r} is neither csv nor jsonl", param_hint="--format")


@contextmanager
def _progress(what: str, total: int | None, *, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal; yields what moves it on by a number of bytes."""
    console = VisibleConsole(stderr=True)
    if not is_shown or not console.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda size: progress.advance(task, size)


def _existing(path: Path) -> str | None:
    return str(path) if path.exists() else None
