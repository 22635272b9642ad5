"""The doors of programs: the command line, expressions, an author's Python, files, other servers, and mail."""

import asyncio
import csv
import io
import itertools
import os
import time
from contextlib import redirect_stderr, redirect_stdout
from decimal import Decimal
from urllib.parse import quote

import orjson
import pytest

from penstock.cli.program import run_program
from penstock.domain.mail_addresses import parse_address
from penstock.expressions.language import compile_expression
from penstock.expressions.templates import compile_template
from penstock.expressions.tokens import ExpressionError
from penstock.visible import make_visible
from tests.acceptance.doors.answering import serve_answers
from tests.acceptance.doors.house import ADMIN, WRONG_RESULTS, House, as_json, dig, each, expected, is_clear
from tests.hostile import Hostile, Kind, Outcome, of_kind

_SLOW_SECONDS = 2.0


async def command_line(house: House) -> None:
    """Texts as parameters, names, ids and times on the command line: 0, 1 or 2, and nothing raw on the terminal."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("PENSTOCK_")]:
            environment.delenv(name)
        environment.setenv("PENSTOCK_DATABASE_URL", house.installation.database_url)
        environment.setenv("NO_COLOR", "1")
        await asyncio.to_thread(_run_commands, house)


def _run_commands(house: House) -> None:
    rows = [row for row in [*of_kind(Kind.TEXT), *of_kind(Kind.NAME)] if len(row.text) < 1000]
    others = itertools.cycle(
        (("run", "-e", "live", "--"), ("runs", "list", "--workflow"), ("workload", "--since"), ("runs", "show"))
    )
    for row, other in zip(rows, others, strict=False):
        value = f"value={orjson.dumps(row.text).decode() if row.outcome is Outcome.KEPT else row.text}"
        for arguments in (("run", "keep_text", "-e", "live", "-p", value, "--json"), (*other, row.text)):
            code, printed = _run_command(arguments)
            if code not in ({0, 1, 2} if row.outcome is Outcome.KEPT else {2}):
                house.note("command line", row, (arguments, code, printed))
            if make_visible(printed) != printed:
                house.note("command line, terminal", row, ascii(printed))


def _run_command(arguments: tuple[str, ...]) -> tuple[object, str]:
    """The exit code of a command, and what it prints; an error of usage repeats what was typed."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(io.StringIO()):
        try:
            run_program(arguments)
        except SystemExit as end:
            return end.code, printed.getvalue()
        except Exception as error:
            return repr(error), printed.getvalue()


async def expressions(house: House) -> None:
    """Texts as expressions and inside templates: compiled or refused, at once."""
    for row in [*of_kind(Kind.TEXT, Outcome.KEPT), *of_kind(Kind.NUMBER), *of_kind(Kind.NAME)]:
        for source in (row.text, f"'{row.text}'", f"params.{row.text}"):
            began = time.perf_counter()
            try:
                compile_expression(source)
                compile_template({"a": source, "b": f"${{{source}}}"}).evaluate({"params": {}})
            except ExpressionError:
                pass
            except Exception as error:
                house.note("expression", row, (source[:60], repr(error)))
            if time.perf_counter() - began > _SLOW_SECONDS:
                house.note("expression", row, f"{time.perf_counter() - began:.1f} s")


def _answers(row: Hostile) -> set[str]:
    """What may be answered of a result: NUL can be sent, if not stored; half of a pair can be neither."""
    halves = "".join("\ufffd" if "\ud800" <= sign <= "\udfff" else sign for sign in row.text)
    return {row.text, halves, expected(row)}


async def python_code(house: House) -> None:
    """Texts that an author's code returns and raises, and results and errors that are none."""

    async def give(row: Hostile) -> None:
        index = b'{"index": %d}' % rows.index(row)
        status, answer = await house.call("give", index)
        # The answer is what was returned; what is stored is what can be.
        if status != 200 or dig(answer, "response", "whole") not in _answers(row):
            house.note("Python result", row, (status, answer))
        status, answer = await house.call("fail_with", index)
        if status != 500 and not is_clear(status, answer):
            house.note("Python exception", row, (status, answer))

    rows = of_kind(Kind.TEXT)
    await each(rows, give)
    for number in range(WRONG_RESULTS):
        status, answer = await house.call("go_wrong", b'{"index": %d}' % number)
        if status not in {200, 400, 500}:
            house.note("Python", f"wrong result {number}", (status, answer))
    messages = await house.installation.fetchval(
        """
        SELECT jsonb_object_agg(parameters->>'index', error->>'message') FROM penstock.runs WHERE workflow = 'fail_with'
        """
    )
    for number, row in enumerate(rows):
        message = dig(messages, str(number))
        is_told = isinstance(message, str) and (
            row.outcome is Outcome.UNSTORABLE or len(row.text) > 500 or expected(row).strip() in message
        )
        if not is_told:
            house.note("Python exception", row, message)


async def cells(house: House) -> None:
    """Texts as cells of a file: imported, exported, and imported again."""
    good = [row for row in of_kind(Kind.TEXT, Outcome.KEPT) if row.text]
    bad = of_kind(Kind.TEXT, Outcome.UNSTORABLE)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["label", "content"])
    writer.writerows(["cell", row.text] for row in [*bad, *good])
    content = file.getvalue().encode("utf-8", "surrogatepass")
    if not await _import(house, content, is_raw=True, created=len(good), failed=len(bad)):
        return
    if missing := await _missing(house, good):
        house.note("CSV cell", missing[0], "it was not imported as it is")
    _, answer = await house.call("give_out", b"{}")
    url = f"{house.ingress.admin_url}/v1/live/files/{dig(answer, 'response', 'file')}"
    async with house.installation.http.get(url, headers=ADMIN) as response:
        exported = await response.read()
    guarded = list(csv.reader(io.StringIO(exported.decode(), newline="")))
    if [cell for row in guarded for cell in row if cell[:1] in {*"=+-@\t\r"}]:
        house.note("CSV cell", "export", "a cell begins like a formula")
    async with house.installation.database.connection() as conn:
        await conn.execute('DELETE FROM live."row"')
    if await _import(house, exported, is_raw=False, created=len(good), failed=0):
        for row in await _missing(house, good):
            house.note("CSV cell", row, "the export was not imported as it was")


async def _import(house: House, content: bytes, *, is_raw: bool, created: int, failed: int) -> bool:
    _, file = await house.post(f"{house.ingress.admin_url}/v1/live/files?name=rows.csv", content)
    body = b'{"file": %s, "raw": %s}' % (as_json(str(dig(file, "file"))), b"true" if is_raw else b"false")
    status, answer = await house.call("take_in", body)
    counts = (dig(answer, "response", "created"), dig(answer, "response", "failed"))
    if status != 200 or counts != (Decimal(created), Decimal(failed)):
        house.note("CSV cell", "import", (status, answer))
        return False
    return True


async def _missing(house: House, rows: list[Hostile]) -> list[Hostile]:
    async with house.installation.database.connection() as conn:
        found = {row["content"] for row in await conn.fetch("SELECT content FROM live.\"row\" WHERE label = 'cell'")}
    return [row for row in rows if row.text not in found]


async def other_servers(house: House) -> None:
    """What another server answers: texts and numbers in JSON, bodies that are none, headers."""
    async with serve_answers() as url:

        async def ask(row: Hostile) -> None:
            body = b'{"url": %s}' % as_json(f"{url}/{row.kind}/{quote(row.name, safe='')}")
            status, answer = await house.call("ask", body)
            wanted = {
                Kind.TEXT: expected(row) if row.kind is Kind.TEXT else "",
                Kind.NUMBER: Decimal(row.text) if row.kind is Kind.NUMBER and row.outcome is Outcome.KEPT else None,
            }.get(row.kind)
            value = dig(answer, "response", "body", "value")
            if row.outcome is Outcome.UNSTORABLE:  # JSON that cannot be stored is kept as the text that it is
                value, wanted = dig(answer, "response", "body"), f'{{"value": {as_json(row.text).decode()}}}'
            if status not in {200, 400, 500} or (wanted is not None and (status != 200 or value != wanted)):
                house.note("answer of another server", row, (status, answer))

        await each([*of_kind(Kind.TEXT), *of_kind(Kind.NUMBER), *of_kind(Kind.BODY), *of_kind(Kind.HEADER)], ask)


async def mail_addresses(house: House) -> None:
    """Texts as addresses: sent to one recipient, or refused; no text adds a recipient or a header."""

    async def write(row: Hostile) -> None:
        status, answer = await house.call("write_to", b'{"to": %s}' % as_json(row.text))
        if status not in {200, 400, 500}:
            house.note("mail address", row, (status, answer))

    rows = [row for row in of_kind(Kind.TEXT) if len(row.text) < 3000]
    await each(rows, write)
    status, answer = await house.call("write_to", b'{"to": "good@example.com"}')
    if status != 200:
        house.note("mail address", "neighbour", (status, answer))
    for recipients, mail in house.mail.mails:
        if len(recipients) != 1 or "X-Injected" in mail or mail["Bcc"]:
            house.note("mail address", str(recipients), dict(mail.items()))
    for row in of_kind(Kind.TEXT):
        try:
            parse_address(row.text)
        except ValueError:
            continue
        except Exception as error:
            house.note("mail address", row, repr(error))
