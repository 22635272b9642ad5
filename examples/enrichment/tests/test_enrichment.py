"""The whole app against a fake of the model's service, which is slow, busy and broken as the tests want it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest_asyncio
from aiohttp import web

from penstock.testing import AppUnderTest, Reply, open_app

APP = Path(__file__).parents[1]
KEY = "sk-test"
SECOND = timedelta(seconds=1)


class Model:
    """The two endpoints that the app uses. `troubles` are answered before anything sensible is, by path; None says
    nothing at all.
    """

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[tuple[str, str]] = []
        self.troubles: dict[str, list[web.Response | None]] = {}
        self.flagged = False
        self.content: str | None = "They like it."

    async def handle(self, request: web.Request) -> web.Response:
        """Answer as OpenAI's API does."""
        what = request.path.removeprefix("/v1/")
        self.calls.append((what, request.headers["Idempotency-Key"]))
        if self.troubles.get(what):
            trouble = self.troubles[what].pop(0)
            if trouble is None:
                await asyncio.Event().wait()
            assert trouble is not None
            return trouble
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": "Incorrect API key provided."}}, status=401)
        if what == "moderations":
            return web.json_response(
                {"results": [{"flagged": self.flagged, "categories": {"violence": True} if self.flagged else {}}]}
            )
        choice = {
            "message": {"role": "assistant", "content": self.content},
            "finish_reason": "stop" if self.content else "length",
        }
        return web.json_response({"choices": [choice], "usage": {"total_tokens": 42}})

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [path for path, _ in self.calls]


def busy(seconds: int) -> web.Response:
    """What the service says when there are too many requests."""
    return web.json_response(
        {"error": {"message": "Rate limit reached"}}, status=429, headers={"Retry-After": str(seconds)}
    )


@pytest_asyncio.fixture
async def model() -> AsyncIterator[Model]:
    """The fake, on a port of its own."""
    fake, served = Model(), web.Application()
    served.router.add_post("/v1/{path:.*}", fake.handle)
    runner = web.AppRunner(served, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield fake
    await runner.cleanup()


@asynccontextmanager
async def opened(model: Model, directory: Path = APP, key: str = KEY) -> AsyncIterator[AppUnderTest]:
    """The app, calling the fake."""
    async with open_app(directory, secrets={"MODEL_URL": model.url, "MODEL_KEY": key}) as app:
        yield app


@pytest_asyncio.fixture
async def app(model: Model) -> AsyncIterator[AppUnderTest]:
    """The app with the right key."""
    async with opened(model) as app:
        yield app


async def write_review(app: AppUnderTest, text: str = "It works, and it was quick.") -> Reply:
    """What a customer does."""
    reply = await app.post("/api/1.1/wf/receive_review", {"author": "Ada", "text": text})
    assert reply.status == 200, reply.body
    return reply


async def test_a_review_is_answered_at_once_and_enriched_afterwards(app: AppUnderTest, model: Model) -> None:
    await write_review(app)
    await app.wait_until_idle()
    (review,) = await app.find("review")
    assert (review["state"], review["summary"], review["tokens"]) == ("enriched", "They like it.", 42)
    assert model.paths() == ["moderations", "chat/completions"]


async def test_while_the_model_is_busy_the_run_waits_as_long_as_it_says(app: AppUnderTest, model: Model) -> None:
    model.troubles["chat/completions"] = [busy(120), busy(90)]
    await write_review(app)
    await app.wait_until_idle()
    (run,) = await app.list_runs("enrich")
    assert run.state == "waiting"
    await app.advance(SECOND * 115)
    assert len(model.calls) == 2
    await app.advance(SECOND * 5)
    assert len(model.calls) == 3
    await app.advance(SECOND * 90)
    assert (await app.get_run(run.id)).state == "succeeded"
    assert model.paths() == ["moderations", *["chat/completions"] * 3]
    assert len({key for _, key in model.calls[1:]}) == 1
    assert (await app.find("review"))[0]["state"] == "enriched"


async def test_a_broken_model_is_asked_again_later_and_later(app: AppUnderTest, model: Model) -> None:
    model.troubles["moderations"] = [web.Response(status=500), web.Response(status=503), web.Response(status=502)]
    await write_review(app)
    await app.advance(timedelta(minutes=1))
    (run,) = await app.list_runs("enrich")
    assert (run.state, len(model.calls)) == ("succeeded", 5)
    warnings = [line.message for line in run.logs if line.level == "warning"]
    assert all("answered with status 50" in line for line in warnings)


async def test_a_model_that_does_not_answer_is_asked_again(model: Model, tmp_path: Path) -> None:
    hasty = tmp_path / "app"
    shutil.copytree(APP, hasty)
    (hasty / "app.yaml").write_text((APP / "app.yaml").read_text().replace("timeout: 120s", "timeout: 500ms"))
    model.troubles["moderations"] = [None]
    async with opened(model, hasty) as app:
        await write_review(app)
        await app.advance(SECOND * 10)
        assert (await app.list_runs("enrich"))[0].state == "succeeded"
    assert model.paths() == ["moderations", "moderations", "chat/completions"]


async def test_a_restart_and_a_deploy_between_two_tries_repeat_nothing(app: AppUnderTest, model: Model) -> None:
    model.troubles["chat/completions"] = [busy(600)]
    await write_review(app)
    await app.wait_until_idle()
    await app.restart()
    await app.deploy()
    await app.advance(SECOND * 600)
    assert model.paths() == ["moderations", "chat/completions", "chat/completions"]
    assert (await app.find("review"))[0]["state"] == "enriched"


async def test_with_a_wrong_key_the_run_fails_at_once_and_its_review_stays_new(model: Model) -> None:
    async with opened(model, key="sk-wrong") as app:
        await write_review(app)
        await app.wait_until_idle()
        (run,) = await app.list_runs("enrich")
        assert run.state == "failed"
        assert "answered with status 401" in str(run.error)
        assert "sk-wrong" not in str(run)
        assert (await app.find("review"))[0]["state"] == "new"


async def test_what_is_still_new_is_enriched_one_after_the_other(app: AppUnderTest, model: Model) -> None:
    for number in range(3):
        await app.create("review", {"author": "Bob", "text": f"Text {number}", "state": "new"})
    await app.run("enrich_all")
    await app.wait_until_idle()
    assert await app.count("review", {"state": "enriched"}) == 3
    assert model.paths() == ["moderations", "chat/completions"] * 3


async def test_a_review_that_is_not_fit_to_be_shown_is_not_summed_up(app: AppUnderTest, model: Model) -> None:
    model.flagged = True
    await write_review(app)
    await app.wait_until_idle()
    (review,) = await app.find("review")
    assert (review["state"], review["flags"]) == ("refused", ["violence"])
    assert model.paths() == ["moderations"]


async def test_an_answer_without_words_fails_in_the_words_of_the_author(app: AppUnderTest, model: Model) -> None:
    model.content = None
    await write_review(app)
    await app.wait_until_idle()
    (run,) = await app.list_runs("enrich")
    assert isinstance(run.error, dict)
    assert (run.state, run.error["message"]) == ("failed", "the model said nothing: length")
