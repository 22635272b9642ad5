"""`import: TYPE`: things from CSV or JSON lines. A retried step does not import anything twice."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.domain.ids import child_run_id
from penstock.domain.workload import Counts
from penstock.errors import Permanent
from penstock.expressions.language import describe_type
from penstock.things.files import CHUNK_BYTES, StoredFile, file_id, open_file
from penstock.things.imports.importing import ImportRequest, ImportResult, import_things
from penstock_executor.steps.arguments import data_type, file_format, flag, names, target_text, wrong
from penstock_executor.steps.consumption import add_written, consumption
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec

_MAX_BAD_LINES: Final = 100
"""Of the result; `failed` counts all."""


async def import_(call: Call) -> Outcome:
    """`{created, updated, failed, bad_lines: [{line, message}, …]}`."""
    kind = data_type(call, target_text(call))
    source, content = await _open(call, call.arguments.get("from"))
    request = ImportRequest(
        # The same however often the step is tried.
        id=child_run_id(call.run.id, call.path),
        environment=call.run.environment,
        data_type=kind,
        format=file_format(call, content.name if isinstance(content, StoredFile) else ""),
        source=source,
        upsert=names(call, "upsert"),
        run_id=call.run.id,
        keeps=_MAX_BAD_LINES,
        is_raw=flag(call, "raw"),
        created_by=call.run.user_id,
    )
    result = await import_things(
        call.tools.database, request, content, guard=lambda conn: call.tools.hold(conn, call.run), limit=call.tools.bulk
    )
    return Done(_show(result), must_commit=True)


def _show(result: ImportResult) -> JsonValue:
    bad_lines: list[JsonValue] = [{"line": bad.line, "message": bad.message} for bad in result.bad_lines]
    return {"created": result.created, "updated": result.updated, "failed": result.failed, "bad_lines": bad_lines}


async def _open(call: Call, given: JsonValue) -> tuple[str, "StoredFile | _Text"]:
    """What is imported: something that tells it from all others, and its bytes."""
    id = file_id(given)
    if id is not None:
        stored = await open_file(call.tools.files, environment=call.run.environment, id=id)
        if stored is None:
            raise Permanent(
                f"there is no file {id} in {call.run.environment}; files are kept for seven days", kind="unknown_file"
            )
        return f"file {id}", stored
    if not isinstance(given, str):
        raise wrong(call, f"`from` has to be a file, the id of a file, or text, and it is {describe_type(given)}")
    content = given.encode(errors="surrogatepass")
    return f"text {sha256(content).hexdigest()}", _Text(content)


class _Text:
    """A text as a stream."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for first in range(0, len(self._content), CHUNK_BYTES):
            yield self._content[first : first + CHUNK_BYTES]


def _count(counts: Counts, _: Outcome, result: JsonValue) -> None:
    for name in ("created", "updated"):
        add_written(counts, result.get(name) if isinstance(result, dict) else None)


SPEC: Final = StepSpec(
    action=StepAction.IMPORT,
    target="the name of a data type",
    arguments=("from", "format", "upsert", "raw"),
    awaited=import_,
    consumes=consumption(done=_count),
)
