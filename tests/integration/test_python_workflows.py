"""Workflows and actions in Python, performed by the real services: steps are recalled, whatever happens between
them.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web
from pydantic import JsonValue

from penstock.errors import Permanent
from penstock.testing import AppUnderTest, Run, open_app
from tests.eventually import eventually
from tests.integration.executing import serve_outside

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
    (directory / "workflows" / "all.yaml").write_text(yaml)
    (directory / "shop.py").write_text(code)
    return directory


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppUnderTest]:
    """The app, for tests that do not count what others may have made."""
    async with open_app(write_app(tmp_path_factory.mktemp("coded")), secrets={"WORD": "sesame-and-more"}) as app:
        yield app


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[AppUnderTest]:
    """The app, to itself."""
    async with open_app(write_app(tmp_path)) as opened:
        yield opened


def probe(name: str) -> list[str]:
    """A list in the app's module as it was imported last."""
    found: list[str] = getattr(sys.modules["shop"], name)
    return found


async def _finish(app: AppUnderTest, workflow: str, **parameters: str) -> Run:
    """Start a run, and let its retries come."""
    run_id = await app.start(workflow, parameters)
    await app.advance(LONG)
    return await app.wait_for(run_id)


def _error(run: Run) -> dict[str, str]:
    assert run.state == "failed", run
    assert isinstance(run.error, dict)
    return {name: str(value) for name, value in run.error.items()}


async def test_finished_steps_are_recalled_when_the_code_begins_anew(app: AppUnderTest) -> None:
    run = await _finish(app, "replayed", name="milk")
    assert run.state == "succeeded", run
    assert run.result == {"id": (await app.find("note"))[0]["_id"], "number": 1, "text": "milk", "attempt": 3}
    assert probe("CALLS") == ["milk"]
    assert await app.count("note") == 1
    assert [(path, done.attempt) for path, done in run.steps.items()] == [("create", 1), ("number", 1), ("update", 3)]
    first = next(line.message for line in run.logs if line.level == "warning")
    assert first.startswith("ValueError: attempt 1 (shop.py:")


async def test_a_permanent_error_is_not_tried_again(shared: AppUnderTest) -> None:
    error = _error(await shared.run("hopeless"))
    assert (error["kind"], error["message"]) == ("permanent", "there is no point")
    assert error["place"].startswith("shop.py:")
    assert "step" not in error


async def test_a_step_that_fails_is_named_with_the_line_that_asked_for_it(shared: AppUnderTest) -> None:
    run = await _finish(shared, "unlucky")
    error = _error(run)
    assert (error["step"], error["place"].split(":")[0], run.attempt) == ("http", "shop.py", 3)
    assert run.steps["http"].outcome == "failed"


async def test_a_failure_that_the_code_went_on_from_is_recalled_too(app: AppUnderTest) -> None:
    run = await _finish(app, "caught")
    assert run.state == "succeeded", run
    assert (run.attempt, run.steps["http"].outcome, run.steps["http"].attempt) == (2, "failed", 1)
    assert await app.count("note") == 1
    assert probe("CALLS") == ["caught", "caught"]


@pytest.mark.parametrize(
    ("workflow", "how"), [("fickle", "create was performed then"), ("shifty", "of the kind 'create'")]
)
async def test_code_that_goes_another_way_fails_clearly(shared: AppUnderTest, workflow: str, how: str) -> None:
    error = _error(await _finish(shared, workflow))
    assert error["kind"] == "non_deterministic"
    assert how in error["message"]
    assert error["place"].startswith("shop.py:")


async def test_async_code_is_cancelled_by_its_timeout(app: AppUnderTest) -> None:
    error = _error(await app.run("endless"))
    assert error["kind"] == "timeout"
    assert probe("ENDED") == ["endless"]


async def test_code_that_does_not_end_when_cancelled_is_left_behind_and_fenced(app: AppUnderTest) -> None:
    assert _error(await app.run("stubborn"))["kind"] == "timeout"
    await eventually(lambda: "stubborn LeaseLost" in probe("ENDED"))
    assert await app.count("note") == 0


async def test_a_thread_outlives_its_run_but_gets_no_step_performed(app: AppUnderTest) -> None:
    assert _error(await app.run("blocked"))["kind"] == "timeout"
    gate: threading.Event = sys.modules["shop"].GATE
    gate.set()
    await eventually(lambda: "blocked LeaseLost" in probe("ENDED"))
    assert await app.count("note") == 0


async def test_steps_that_are_awaited_together_come_in_the_order_of_the_calls(shared: AppUnderTest) -> None:
    run = await shared.run("together")
    assert run.result == {"numbers": [0, 1, 2, 3, 4], "met": [1, 2]}
    assert list(run.steps)[:3] == ["create", "create_2", "create_3"]


async def test_steps_inside_of_a_remembered_function_have_paths_of_their_own(app: AppUnderTest) -> None:
    run = await _finish(app, "nested")
    assert run.result == {"differ": True}
    assert set(run.steps) == {"inner", "inner/create", "create"}
    assert await app.count("note") == 2


async def test_a_wait_ends_the_code_and_begins_it_anew(app: AppUnderTest) -> None:
    run_id = await app.start("patient")
    await app.advance(timedelta(days=29))
    assert (await app.get_run(run_id)).state == "waiting"
    await app.restart()
    await app.advance(timedelta(days=2))
    assert [note["text"] for note in await app.find("note", sort="Created Date")] == ["before", "after"]
    await app.signal("approved", {"by": "me", "with": "pleasure"})
    await app.advance(timedelta(days=2))
    assert (await app.wait_for(run_id)).result == {"approved": {"by": "me", "with": "pleasure"}, "missed": None}


async def test_a_crash_between_steps_repeats_none_of_them(app: AppUnderTest) -> None:
    keys: list[str] = []
    has_arrived = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            has_arrived.set()
            await asyncio.Event().wait()
        return web.json_response({})

    async with serve_outside(answer) as url:
        run_id = await app.start("crashing", {"url": url})
        await has_arrived.wait()
        await app.crash_executor()
        run = await app.wait_for(run_id)
    assert run.result == {"status": 200, "number": 1}
    assert (run.attempt, len(keys), len(set(keys))) == (2, 2, 1)
    assert await app.count("note") == 1


async def test_parameters_come_as_their_annotations_say(shared: AppUnderTest) -> None:
    run = await shared.run("typed", {"count": 4, "tags": ["a", "b"], "at": "2030-05-01T00:00:00Z"})
    lines = [{"name": "a", "amount": 1.5}, {"name": "b", "amount": 1.5}]
    assert run.result == {"number": "5", "placed": "2030-05-01T00:00:00.000Z", "lines": lines}
    error = _error(await shared.run("typed", {"count": 1.5}))
    assert (error["kind"], "'count' does not fit" in error["message"]) == ("parameters", True)
    with pytest.raises(Permanent, match="parameter count"):
        await shared.run("typed", {"count": "many"})


async def test_one_model_holds_all_parameters(shared: AppUnderTest) -> None:
    lines: list[JsonValue] = [{"name": "tea"}, {"name": "milk", "amount": 2}]
    body: dict[str, JsonValue] = {"number": "A-1", "placed": "2026-03-01T12:00:00Z", "lines": lines}
    reply = await shared.post("/api/1.1/wf/order", body)
    assert reply.json() == {
        "status": "success",
        "response": {"number": "A-1", "total": 3.5, "year": 2026, "method": "POST"},
    }
    assert (await shared.post("/api/1.1/wf/order", {"number": "A-1"})).status == 400


async def test_what_a_step_returns_comes_back_as_its_annotation_says(shared: AppUnderTest) -> None:
    assert (await shared.run("remembered_types")).result == {"is_decimal": True, "value": 9.99, "kind": "result"}


@pytest.mark.parametrize(
    ("workflow", "kind", "message"),
    [
        ("forgetful", "not_awaited", "never awaited"),
        ("misplaced", "not_awaited", "write `await`"),
        ("listy", "result", "a workflow returns a mapping"),
        ("exiting", "exception", "sys.exit(3)"),
        ("unset", "secret", "NO_SUCH"),
        ("twice", "step_id", "two steps have the id 'same'"),
        ("itemised", "exception", "item 0 of the list: IndexError: list index out of range"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_mistakes_are_told_in_words_that_help(
    shared: AppUnderTest, workflow: str, kind: str, message: str
) -> None:
    error = _error(await shared.run(workflow))
    assert (error["kind"], message in error["message"]) == (kind, True), error


async def test_a_step_that_the_code_cancels_is_the_end_of_it(app: AppUnderTest) -> None:
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    async with serve_outside(hang) as url:
        error = _error(await app.run("impatient", {"url": url}))
        never.set()
    assert (error["kind"], "give the step `timeout=`" in error["message"]) == ("cancelled", True)
    assert await app.count("note") == 0


async def test_secrets_are_read_by_name_and_not_stored(shared: AppUnderTest) -> None:
    run = await shared.run("secretive")
    assert run.result == {"word": "[secret WORD]", "echo": True}


async def test_stop_ends_the_workflow_well(app: AppUnderTest) -> None:
    run = await app.run("stopping")
    assert (run.state, run.result) == ("succeeded", {"so": "far"})
    assert probe("ENDED") == ["stopping"]


async def test_sync_functions_are_performed_in_threads_that_know_the_run(shared: AppUnderTest) -> None:
    run = await shared.run("in_thread")
    assert isinstance(run.result, dict)
    assert (run.result["thread"], run.result["run"]) == (True, True)
    await eventually(lambda: _said(shared, run.id, "from a thread"))


async def test_functions_in_threads_that_wait_for_each_other_need_one_place(tmp_path: Path) -> None:
    async with open_app(write_app(tmp_path), settings={"executor_threads": 1}) as app:
        assert (await app.run("thread_in_thread")).result == {"count": 1}


async def _said(app: AppUnderTest, run_id: UUID, text: str) -> bool:
    return text in (await app.get_run(run_id)).output


async def test_actions_are_steps_of_yaml(app: AppUnderTest) -> None:
    run = await app.run("pay", {"amount": 12.5})
    assert run.result == {"note": "none"}
    assert {"charged", "charged/create"} < set(run.steps)
    error = _error(await app.run("pay", {"amount": -1}))
    assert (error["step"], error["message"].split(" (")[0]) == ("charged", "RuntimeError: nothing to charge")
    assert error["place"].startswith("shop.py:")


async def test_an_action_has_its_steps_timeout(shared: AppUnderTest) -> None:
    assert (await shared.run("pay_slowly")).result == {"kind": "timeout"}


async def test_a_step_that_fails_in_a_group_is_named(shared: AppUnderTest) -> None:
    error = _error(await shared.run("grouped"))
    assert (error["step"], "'no'" in error["message"]) == ("create_2", True), error


async def test_workflows_trigger_themselves(shared: AppUnderTest) -> None:
    run = await shared.run("over_and_over")
    assert run.result == {
        "depth": 0,
        "inner": {"depth": 1, "inner": {"depth": 2, "inner": {"depth": 3, "inner": None}}},
    }
    assert "trigger/trigger/trigger" in run.steps


async def test_yaml_triggers_python(shared: AppUnderTest) -> None:
    assert (await shared.run("outer")).result == {"number": "2"}


async def test_changed_code_counts_from_the_next_deployment_on(tmp_path: Path) -> None:
    code = "from penstock import App\napp = App()\n@app.workflow()\nasync def tell(ctx):\n    return {'number': 1}\n"
    async with open_app(write_app(tmp_path, code, "")) as app:
        assert (await app.run("tell")).result == {"number": 1}
        for number in (2, 3):  # within the same second, and of the same size
            write_app(tmp_path, code.replace("1}", f"{number}}}"), "")
            await app.deploy()
            assert (await app.run("tell")).result == {"number": number}


async def test_a_run_of_an_older_version_outlives_a_module_that_it_does_not_need(tmp_path: Path) -> None:
    code = (
        "from penstock import App\napp = App()\n@app.workflow()\nasync def nap(ctx):\n    await ctx.wait('1d')\n   "
        " "
        "return {}\n"
    )
    write_app(tmp_path, code, "")
    (tmp_path / "extra.py").write_text("from penstock import App\napp = App()\n")
    (tmp_path / "app.yaml").write_text("app: coded\npython: [shop, extra]\n")
    async with open_app(tmp_path) as app:
        run_id = await app.start("nap")
        await app.wait_until_idle()
        (tmp_path / "extra.py").unlink()
        (tmp_path / "app.yaml").write_text("app: coded\npython: [shop]\n")
        await app.deploy()
        await app.advance(timedelta(days=2))
        assert (await app.wait_for(run_id)).state == "succeeded"


async def test_an_executor_without_the_code_says_what_to_set(tmp_path: Path) -> None:
    async with open_app(write_app(tmp_path), settings={"app": None}) as app:
        error = _error(await app.run("listy"))
    assert (error["kind"], "set PENSTOCK_APP" in error["message"]) == ("code", True)


async def test_an_executor_with_other_code_says_so(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_app(other, "from penstock import App\napp = App()\n", "")
    (tmp_path / "app").mkdir()
    async with open_app(write_app(tmp_path / "app"), settings={"app": other}) as app:
        error = _error(await app.run("listy"))
    assert (error["kind"], "shop:listy" in error["message"]) == ("code", True)


async def test_code_with_a_client_of_its_own_can_say_whose_call_it_makes(app: AppUnderTest) -> None:
    run = await app.run("calling_out")
    assert isinstance(run.result, dict)
    first, second = run.result["first"], run.result["second"]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first.keys() == {"traceparent", "baggage"}
    assert str(first["traceparent"]).split("-")[1] == str(second["traceparent"]).split("-")[1] == run.chain_id.hex
    assert first["traceparent"] != second["traceparent"]
    assert f".{run.chain_id.hex}.{run.id.hex}.0." in str(first["baggage"])
