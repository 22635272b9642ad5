"""The report of an import: a file of JSON lines beside what was imported. The first says which import it is, each other
names a bad line.

The database knows what is imported and what is not; the report tells a person, and lets `--resume` find the import
again. It is written before anything is imported, and removed when nothing is left to be done.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.errors import ConfigurationError
from penstock.things.imports.batches import BadLine
from penstock.things.tabular import Format

SUFFIX = ".report.jsonl"
_PIECE = 1024 * 1024


class ReportHead(BaseModel):
    """Which import a report is of. `lines` are those of the file: it may be corrected, line by line, and nothing
    else.
    """

    model_config = ConfigDict(frozen=True)

    import_id: UUID
    file: str
    environment: str
    type: str
    format: Format
    upsert: tuple[str, ...]
    lines: int
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the lines of all attempts."""

    created: int
    updated: int
    failed: int


def report_path(file: Path) -> Path:
    """Where the report of an import of `file` is kept."""
    return file.with_name(file.name + SUFFIX)


def read_head(path: Path) -> ReportHead | None:
    """The head of a report; None when there is no report. Raises ConfigurationError for a file that is none."""
    try:
        with path.open("rb") as report:
            return ReportHead.model_validate_json(report.readline())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise ConfigurationError(f"{path} is not the report of an import; move it away") from None


def write_report(path: Path, head: ReportHead, counts: Counts, bad_lines: Iterable[BadLine]) -> None:
    """Write a report, in the place of what was there. Raises ConfigurationError when that cannot be done."""
    fresh = path.with_name(path.name + ".part")
    try:
        with fresh.open("wb") as report:
            report.write(orjson.dumps(head.model_dump(mode="json") | asdict(counts)) + b"\n")
            report.writelines(orjson.dumps({"line": bad.line, "message": bad.message}) + b"\n" for bad in bad_lines)
        fresh.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"the report {path} cannot be written: {error.strerror}; import from a folder of yours"
        ) from None


def count_lines(path: Path) -> int:
    """The lines of a file, whatever is in them."""
    lines, last = 0, b"\n"
    with path.open("rb") as content:
        while piece := content.read(_PIECE):
            lines += piece.count(b"\n")
            last = piece[-1:]
    return lines + (last != b"\n")
