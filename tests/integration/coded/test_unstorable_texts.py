"""Texts that PostgreSQL cannot hold, wherever code puts them: made storable or refused in words, no attempt lost."""

from pathlib import Path

from penstock.testing import open_app
from tests.integration.coded.shop import write_app

CODE = """
import structlog

from penstock import App, Context, Permanent

app = App()
BAD = "half \\ud800 and \\x00 nul"
KINDS = {}


def kind(function):
    KINDS[function.__name__] = function
    return function


@kind
async def result(ctx):
    return {"value": BAD, BAD: [BAD]}


@kind
async def raised(ctx):
    raise ValueError(BAD)


@kind
async def permanent(ctx):
    raise Permanent(BAD)


@kind
async def fail(ctx):
    await ctx.fail(BAD)


@kind
async def stop(ctx):
    await ctx.stop(BAD)


@kind
async def state(ctx):
    await ctx.state({"value": BAD})


@kind
async def log(ctx):
    await ctx.log(BAD)
    ctx.logger.error(BAD)
    structlog.get_logger().error(BAD, value=BAD, more={BAD: BAD})


@kind
async def remembered(ctx):
    return {"value": await ctx.step("noted", lambda: BAD)}


@kind
async def remembered_error(ctx):
    def boom():
        raise ValueError(BAD)

    await ctx.step("noted", boom)


@kind
async def answered(ctx):
    await ctx.return_({"value": BAD})


@kind
async def field(ctx):
    await ctx.create("note", {"text": BAD})


@kind
async def field_name(ctx):
    await ctx.create("note", {BAD: "x"})


@kind
async def found(ctx):
    await ctx.find("note", {"text": BAD})


@kind
async def gotten(ctx):
    await ctx.get("note", BAD)


@kind
async def type_name(ctx):
    await ctx.create(BAD, {})


@kind
async def signal(ctx):
    await ctx.wait_for(BAD)


@kind
async def matched(ctx):
    await ctx.wait_for("paid", {"id": BAD}, timeout=0.01)


@kind
async def keyed(ctx):
    await ctx.schedule("light", key=BAD)


@kind
async def parameter(ctx):
    await ctx.schedule("light", {"text": BAD})


@kind
async def scheduled(ctx):
    await ctx.schedule(BAD)


@kind
async def listed(ctx):
    await ctx.schedule_list("light", [{"text": BAD}])


@kind
async def recurring(ctx):
    await ctx.recur("light", every="daily", for_=BAD)


@kind
async def timezone(ctx):
    await ctx.recur("light", cron="0 0 * * *", timezone=BAD)


@kind
async def triggered(ctx):
    await ctx.trigger("light", {"text": BAD})


@kind
async def cancelled(ctx):
    await ctx.cancel(BAD)


@kind
async def url(ctx):
    await ctx.http("http://127.0.0.1:9/" + BAD)


@kind
async def header(ctx):
    await ctx.http("http://127.0.0.1:9/", headers={"X-Word": BAD})


@kind
async def form(ctx):
    await ctx.http("http://127.0.0.1:9/", method="POST", form={"word": BAD})


@kind
async def body(ctx):
    await ctx.http("http://127.0.0.1:9/", method="POST", body=BAD)


@kind
async def published(ctx):
    await ctx.publish("word", {"word": BAD})


@kind
async def routed(ctx):
    await ctx.publish(BAD, {})


@kind
async def exported(ctx):
    await ctx.export("note", name=BAD)


@kind
async def imported(ctx):
    return await ctx.import_("note", "text" + chr(10) + BAD)


@kind
async def mailed(ctx):
    await ctx.email("ada@example.com", subject=BAD, text=BAD)


@kind
async def mailed_to(ctx):
    await ctx.email(BAD + "@example.com", subject="x", text="y")


@kind
async def attached(ctx):
    await ctx.email("ada@example.com", subject="x", text="y", attachments=[{"name": BAD, "text": BAD}])


@app.workflow()
async def tried(ctx: Context, name: str) -> dict | None:
    return await KINDS[name](ctx)


@app.workflow()
async def light(ctx: Context, text: str = "") -> None:
    return None
"""
STORED = ["result", "stop", "state", "log", "remembered", "answered", "matched", "published", "imported"]
NAMES = [line.split("(")[0].removeprefix("async def ") for line in CODE.splitlines() if line.startswith("async def ")]
KINDS = [name for name in NAMES if name not in {"tried", "light"}]


async def test_no_text_loses_an_attempt_or_ends_as_an_internal_error(tmp_path: Path) -> None:
    """One app for all, because each is quick and an app is not."""
    async with open_app(write_app(tmp_path, CODE, "workflow: nothing\nsteps: [{log: a}]")) as app:
        for name in KINDS:
            run = await app.run("tried", {"name": name}, within=20)
            assert run.attempt <= 3, (name, run)
            error = run.error if isinstance(run.error, dict) else {}
            assert error.get("kind") != "internal" or name in {"raised", "remembered_error"}, (name, run.error)
            assert "\x00" not in str(run.error), name
            assert "surrogates not allowed" not in str(run.error), (name, run.error)
            if name in STORED:
                assert run.state == "succeeded", (name, run.error)
        stored = await app.run("tried", {"name": "result"})
        assert stored.result == {"value": "half � and � nul", "half � and � nul": ["half � and � nul"]}


def test_the_kinds_of_the_table_are_those_of_the_code() -> None:
    assert set(STORED) <= set(KINDS)
    assert len(KINDS) > 30
