"""Steps that code calls wrongly: an error that shows the right call, and nothing done."""

from pathlib import Path

from penstock.testing import open_app
from tests.integration.coded.shop import error_of, write_app

CALLS = {
    'ctx.get("note", {"text": "x"})': "`id` should be a valid string or an instance of Thing, and it is "
    "dict {'text': 'x'}; "
    'for a condition write ctx.get("order", where={"number": "17"})',
    'ctx.get("note", "garbage")': "'garbage' is not the id of a thing, such as",
    "ctx.get()": "missing a required argument: 'type'",
    'ctx.get("note", where="text")': "`where` should be ",
    'ctx.find("note", limit="3")': "`limit` should be a valid integer, and it is str '3'. "
    "It is called as ctx.find(type, where=None, ",
    'ctx.find("note", {"text": "x"}, descending=1)': "`descending` should be a valid boolean",
    'ctx.create("note", "text")': "`values` should be ",
    'ctx.create({"text": "x"})': "`type` should be a valid string",
    'ctx.create("note", {}, timout=3)': "there is no argument 'timout'; did you mean 'timeout'?",
    'ctx.update({"_id": "1x2"}, {"text": "x"})': "`thing` should be a valid string or an instance of Thing",
    'ctx.update("17", {"text": "x"}, type="note")': "'17' is not the id of a thing",
    'ctx.delete(17, type="note")': "`thing` should be ",
    'ctx.create_many("note", 3)': "`items` should be iterable",
    'ctx.schedule("plain", ["x"])': "`parameters` should be ",
    'ctx.schedule("plain", at="2030-01-01")': "`at` should be a valid datetime",
    'ctx.schedule("plain", priority="1")': "`priority` should be a valid integer",
    'ctx.schedule_list("plain", 3)': "`over` should be ",
    'ctx.recur("plain", every="hourly")': "`every` should be 'daily', 'weekly', 'monthly', 'quarterly' or 'yearly'",
    'ctx.wait_until("tomorrow")': "`moment` should be a valid datetime",
    'ctx.http("http://127.0.0.1:9", method="FETCH")': "`method` should be 'GET', ",
    'ctx.email("a@example.com")': "missing a required argument: 'subject'",
    'ctx.state("x")': "`values` should be ",
    "ctx.fail(17)": "a text is needed, and this is number",
    "ctx.stop({})": "a text is needed, and this is object",
}
CODE = f"""
from penstock import App, Context

app = App()


@app.workflow()
async def plain(ctx: Context) -> None:
    return None


@app.workflow()
async def wrong(ctx: Context, number: int) -> None:
    match number:
{chr(10).join(f"        case {number}:{chr(10)}            await {call}" for number, call in enumerate(CALLS))}
"""


async def test_a_wrong_argument_fails_the_run_and_shows_the_right_call(tmp_path: Path) -> None:
    async with open_app(write_app(tmp_path, CODE, "workflow: nothing\nsteps: [{log: a}]")) as app:
        for number, (call, said) in enumerate(CALLS.items()):
            run = await app.run("wrong", {"number": number})
            error = error_of(run)
            assert said in error["message"], (call, error)
            assert (error["kind"], run.attempt) == ("arguments", 1), (call, error)
        assert await app.find("note") == []
        assert len(await app.list_runs("plain")) == 0
