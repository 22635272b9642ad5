"""The app of the tests of workflows in Python: its code, its YAML, and what the tests ask of it."""

import sys
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from penstock.testing import AppUnderTest, Run

LONG = timedelta(minutes=10)
CODE = """
import asyncio
import sys
import threading
from contextvars import ContextVar
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import BaseModel
import structlog

from penstock import App, Context, Permanent, Transient, api, retries, webhook

app = App()
CALLS: list[str] = []
GATE = threading.Event()
ENDED: list[str] = []
SOON = retries(3, backoff="1m")


def count(name: str) -> int:
    CALLS.append(name)
    return CALLS.count(name)


@app.workflow(retries=SOON)
async def replayed(ctx: Context, name: str) -> dict:
    thing = await ctx.create("note", {"text": name})
    number = await ctx.step("number", count, name)
    if ctx.run.attempt < 3:
        raise ValueError(f"attempt {ctx.run.attempt}")
    again = await ctx.update(thing, {"number": number})
    return {"id": thing.id, "number": again.number, "text": thing["text"], "attempt": ctx.run.attempt}


@app.workflow(when="params.name != '' and run.attempt == 1", on=[api(auth="public")])
async def picky(ctx: Context, name: str) -> dict:
    return {"called": count(f"picky {name}")}


@app.workflow()
async def calling_out(ctx: Context) -> dict:
    return {"first": ctx.outgoing_headers(), "second": ctx.outgoing_headers()}


@app.workflow(retries=SOON)
async def hopeless(ctx: Context) -> None:
    await ctx.log("trying")
    raise Permanent("there is no point")


@app.workflow(retries=SOON)
async def unlucky(ctx: Context) -> None:
    await ctx.http("http://127.0.0.1:9/", retries=retries(2, backoff=0.01))


@app.workflow(retries=SOON)
async def caught(ctx: Context) -> dict:
    try:
        await ctx.http("http://127.0.0.1:9/")
    except Transient as error:
        kind = error.kind
        await ctx.create("note", {"text": "went another way"})
    else:
        kind = "none"
    count("caught")
    if ctx.run.attempt == 1:
        raise RuntimeError("and then")
    return {"kind": kind}


@app.workflow(retries=SOON)
async def fickle(ctx: Context) -> None:
    if ctx.run.attempt == 1:
        await ctx.create("note", {"text": "first"})
        raise RuntimeError("once more")
    await ctx.find("note")


@app.workflow(retries=SOON)
async def shifty(ctx: Context) -> None:
    if ctx.run.attempt == 1:
        await ctx.create("note", {"text": "first"}, step_id="it")
        raise RuntimeError("once more")
    await ctx.count("note", step_id="it")


@app.workflow(timeout="1s")
async def endless(ctx: Context) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ENDED.append("endless")


@app.workflow(timeout="1s")
async def stubborn(ctx: Context) -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await ctx.create("note", {"text": "after the end"})
            except Exception as error:
                ENDED.append(f"stubborn {type(error).__name__}")


@app.workflow(timeout="1s")
def blocked(ctx: Context) -> None:
    GATE.wait(60)
    try:
        ctx.do(ctx.create("note", {"text": "after the end"}))
    except Exception as error:
        ENDED.append(f"blocked {type(error).__name__}")


@app.workflow()
async def together(ctx: Context) -> dict:
    things = await asyncio.gather(*(ctx.create("note", {"number": number}) for number in range(5)))
    meeting = asyncio.Barrier(2)

    async def meet(number: int) -> int:
        await meeting.wait()
        return number

    met = await asyncio.gather(ctx.step("one", meet, 1), ctx.step("two", meet, 2))
    return {"numbers": [thing.number for thing in things], "met": met}


@app.workflow(retries=SOON)
async def nested(ctx: Context) -> dict:
    async def inner(text: str) -> str:
        return (await ctx.create("note", {"text": text})).id

    first = await ctx.step("inner", inner, "inside")
    second = await ctx.create("note", {"text": "outside"})
    if ctx.run.attempt == 1:
        raise RuntimeError("once more")
    return {"differ": first != second.id}


@app.workflow()
async def patient(ctx: Context) -> dict:
    await ctx.create("note", {"text": "before"})
    await ctx.wait("30d")
    await ctx.create("note", {"text": "after"})
    approved = await ctx.wait_for("approved", {"by": "me"}, timeout="5d")
    missed = await ctx.wait_for("never", timeout="1d")
    return {"approved": approved, "missed": missed}


class Line(BaseModel):
    name: str
    amount: Decimal = Decimal("1.5")


class Order(BaseModel):
    number: str
    placed: datetime
    lines: list[Line] = []


@app.workflow(on=[api(auth="public")])
async def order(ctx: Context, order: Order) -> dict:
    total = sum(line.amount for line in order.lines)
    return {"number": order.number, "total": total, "year": order.placed.year, "method": ctx.request["method"]}


@app.workflow()
async def typed(ctx: Context, count: int, at: datetime | None = None, tags: list[str] = []) -> Order:
    placed = at or datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    return Order(number=f"{count + 1}", placed=placed, lines=[Line(name=tag) for tag in tags])


@app.workflow()
async def remembered_types(ctx: Context) -> dict:
    def price() -> Decimal:
        return Decimal("9.99")

    def bad() -> int:
        return "no number"

    value = await ctx.step("price", price)
    try:
        await ctx.step("bad", bad)
    except Permanent as error:
        kind = error.kind
    return {"is_decimal": isinstance(value, Decimal), "value": value, "kind": kind}


@app.workflow()
async def forgetful(ctx: Context) -> None:
    ctx.create("note", {"text": "never awaited"})


@app.workflow()
async def listy(ctx: Context) -> list:
    return [1]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this error has no words")


class UnspeakablePermanent(Permanent):
    def __str__(self) -> str:
        raise RuntimeError("this error has no words")


@app.workflow()
async def unspeakable(ctx: Context, kind: str) -> None:
    if kind == "step":
        await ctx.step("said", lambda: _raise(Unspeakable()))
    raise Unspeakable() if kind == "error" else UnspeakablePermanent("not shown", kind="mine")


def _raise(error: Exception) -> None:
    raise error


@app.workflow()
async def exiting(ctx: Context) -> None:
    sys.exit(3)


@app.workflow()
async def impatient(ctx: Context, url: str) -> None:
    try:
        async with asyncio.timeout(0.2):
            await ctx.http(url)
    except TimeoutError:
        pass
    await ctx.create("note", {"text": "too early"})


@app.workflow()
async def secretive(ctx: Context) -> dict:
    word = ctx.secrets["WORD"]
    return {"word": word, "echo": (await ctx.step("echo", str.upper, word.lower())).lower() == word.lower()}


@app.workflow()
async def unset(ctx: Context) -> None:
    ctx.secrets["NO_SUCH"]


@app.workflow()
async def stopping(ctx: Context) -> None:
    await ctx.return_({"so": "far"})
    try:
        await ctx.stop("that is enough")
    finally:
        ENDED.append("stopping")


@app.workflow()
def in_thread(ctx: Context) -> dict:
    ctx.logger.info("from a thread")
    thing = ctx.do(ctx.create("note", {"text": "sync"}))
    fields = structlog.contextvars.get_contextvars()
    is_apart = threading.current_thread() is not threading.main_thread()
    return {"thread": is_apart, "run": fields["run_id"] == ctx.run.id, "id": thing.id}


@app.workflow()
def thread_in_thread(ctx: Context) -> dict:
    def inner() -> int:
        return ctx.do(ctx.step("innermost", count, "inner"))

    return {"count": ctx.do(ctx.step("inner", inner))}


@app.workflow()
async def misplaced(ctx: Context) -> None:
    ctx.do(ctx.create("note", {"text": "async"}))


@app.workflow()
async def twice(ctx: Context) -> None:
    await ctx.log("a", step_id="same")
    await ctx.log("b", step_id="same")


@app.workflow(retries=SOON)
async def crashing(ctx: Context, url: str) -> dict:
    thing = await ctx.create("note", {"text": "once"})
    response = await ctx.http(url, method="POST", json={"id": thing.id})
    number = await ctx.step("after", count, "crashing")
    return {"status": response.status, "number": number}


@app.workflow()
async def grouped(ctx: Context) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(ctx.create("note", {"text": "in a group"}))
        group.create_task(ctx.create("note", {"no": "such field"}))


@app.workflow()
async def itemised(ctx: Context) -> None:
    await ctx.schedule_list("typed", [1, 2], lambda item, index: {"count": [][index]})


@app.workflow()
async def over_and_over(ctx: Context, depth: int = 0) -> dict:
    inner = await ctx.trigger("over_and_over", {"depth": depth + 1}) if depth < 3 else None
    return {"depth": depth, "inner": inner}


@app.action
async def charge(ctx: Context, order: str, amount: Decimal, note: str = "none") -> dict:
    thing = await ctx.create("note", {"text": order, "number": amount})
    if amount < 0:
        raise RuntimeError("nothing to charge")
    return {"id": thing.id, "note": note}


@app.action
def slow_charge(ctx: Context) -> None:
    GATE.wait(60)
"""
YAML = """
workflow: pay
parameters: {amount: number}
steps:
  - id: charged
    run: shop.charge
    with: {order: o-1, amount: "${params.amount}"}
  - return: {note: "${steps.charged.note}"}
---
workflow: pay_slowly
steps:
  - {run: shop.slow_charge, timeout: 500ms, on_error: continue, id: charged}
  - return: {kind: "${steps.charged.error.kind}"}
---
workflow: outer
steps:
  - {id: inner, trigger: typed, with: {count: 1}}
  - return: {number: "${steps.inner.number}"}
"""


def write_app(directory: Path, code: str = CODE, yaml: str = YAML) -> Path:
    """An app whose Python is one module, `shop`."""
    (directory / "types").mkdir(exist_ok=True)
    (directory / "workflows").mkdir(exist_ok=True)
    (directory / "app.yaml").write_text("app: coded\npython: [shop]\n")
    (directory / "types" / "note.yaml").write_text("type: note\nfields: {text: text, number: number}\n")
    if yaml:
        (directory / "workflows" / "all.yaml").write_text(yaml)
    (directory / "shop.py").write_text(code)
    return directory


def probe(name: str) -> list[str]:
    """A list in the app's module as it was imported last."""
    found: list[str] = getattr(sys.modules["shop"], name)
    return found


async def finish(app: AppUnderTest, workflow: str, **parameters: str) -> Run:
    """Start a run, and let its retries come."""
    run_id = await app.start(workflow, parameters)
    await app.advance(LONG)
    return await app.wait_for(run_id)


def error_of(run: Run) -> dict[str, str]:
    assert run.state == "failed", run
    assert isinstance(run.error, dict)
    return {name: str(value) for name, value in run.error.items()}


async def said(app: AppUnderTest, run_id: UUID, text: str) -> bool:
    return text in (await app.get_run(run_id)).output
