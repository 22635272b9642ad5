"""The test kit, as a user's test would use it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from penstock.errors import ConfigurationError, Permanent
from penstock.testing import AppUnderTest, open_app

APP = {
    "app.yaml": "app: lab\n",
    "types/note.yaml": "type: note\nfields: {text: text, number: number}\n",
    "workflows/all.yaml": """
workflow: take_note
parameters: {text: text, number: {type: number, optional: true}}
on:
  api: {method: POST, auth: public}
steps:
  - create: note
    set: {text: "${params.text}", number: "${params.number}"}
  - log: "noted ${params.text}"
  - return: {noted: "${params.text}"}
---
workflow: later
steps:
  - {schedule: take_note, with: {text: soon}, after: 10d}
  - {schedule: later_still, after: 20d}
---
workflow: later_still
steps:
  - {schedule: take_note, with: {text: late}, after: 5d}
---
workflow: broken
steps: [{fail: "no luck"}]
---
workflow: unlucky
steps: [{fail: "no luck either"}]
---
workflow: comfort
on: {run: {states: [failed], workflows: [unlucky]}}
steps: [{schedule: take_note, with: {text: "better luck next time"}}]
---
workflow: secretive
parameters: {word: text}
steps: [{when: secrets.WORD == params.word, return: {known: true}}]
---
workflow: one_after_the_other
steps:
  - schedule_list: take_note
    over: [1, 2, 3]
    with: {text: item, number: "${item}"}
    sequential: true
    interval: 1h
""",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An app."""
    for name, text in APP.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
async def app(directory: Path) -> AsyncIterator[AppUnderTest]:
    async with open_app(directory, secrets={"WORD": "sesame"}) as opened:
        yield opened


async def test_a_run_is_shown_with_its_steps_and_lines(app: AppUnderTest) -> None:
    run = await app.run("take_note", {"text": "milk"})
    assert (run.state, run.result, run.error, run.depth) == ("succeeded", {"noted": "milk"}, None, 0)
    assert [(done.action, done.outcome) for done in run.steps.values()] == [
        ("create", "succeeded"),
        ("log", "succeeded"),
        ("return", "succeeded"),
    ]
    assert run.output == ["noted milk"]
    assert [note["text"] for note in await app.find("note")] == ["milk"]


async def test_a_failed_run_says_why(app: AppUnderTest) -> None:
    run = await app.run("broken")
    assert run.state == "failed"
    assert isinstance(run.error, dict)
    assert run.error["message"] == "no luck"
    assert run.logs[-1].level == "error"


async def test_time_stops_at_every_moment_at_which_something_is_due(app: AppUnderTest) -> None:
    await app.run("later")
    await app.advance(timedelta(days=9))
    assert await app.count("note") == 0
    await app.advance(timedelta(days=2))
    assert [note["text"] for note in await app.find("note")] == ["soon"]
    # What is scheduled at day 20 for five days later is due at day 25, though time moves to day 31 at once.
    await app.advance(timedelta(days=20))
    runs = {run.workflow: run for run in await app.list_runs()}
    assert await app.count("note") == 2
    assert abs(runs["take_note"].scheduled_at - runs["later_still"].scheduled_at - timedelta(days=5)) < timedelta(
        minutes=1
    )


async def test_ticks_and_waits_are_moments_too(directory: Path) -> None:
    (directory / "workflows" / "recurring.yaml").write_text("""
workflow: hourly
on: {recurrence: {cron: "30 * * * *"}}
steps: [{wait: 90m}, {create: note, set: {text: "${recurrence.tick_at}"}}]
---
workflow: ask
steps: [{recur: take_note, every: daily, with: {text: daily}}]
""")
    async with open_app(directory) as app:
        await app.run("ask")
        await app.advance(timedelta(hours=3))
        assert [run.state for run in await app.list_runs("hourly")] in (
            ["succeeded", "waiting"],
            ["succeeded", "succeeded"],
        )
        await app.advance(timedelta(hours=44))
        assert await app.count("note", {"text": "daily"}) == 1
        assert await app.count("note") == 1 + len(await app.list_runs("hourly", state="succeeded"))
        assert 22 <= len(await app.list_runs("hourly")) <= 24, "every other tick finds the run before it waiting"


async def test_a_list_whose_items_wait_for_their_time_is_idle_between_them(app: AppUnderTest) -> None:
    await app.run("one_after_the_other")
    await app.wait_until_idle()
    assert await app.count("note") == 1
    await app.advance(timedelta(hours=3))
    assert [note["number"] for note in await app.find("note", sort="number")] == [1, 2, 3]


async def test_what_waits_for_a_time_is_not_waited_for(app: AppUnderTest) -> None:
    run_id = await app.start("take_note", {"text": "then"}, after=timedelta(hours=1))
    with pytest.raises(AssertionError, match="move the time with `advance`"):
        await app.wait_for(run_id)
    await app.advance(timedelta(hours=1))
    assert (await app.wait_for(run_id)).state == "succeeded"


async def test_wrong_names_and_values_are_refused(app: AppUnderTest) -> None:
    with pytest.raises(Permanent, match="did you mean 'take_note'"):
        await app.run("take_notes", {"text": "milk"})
    with pytest.raises(Permanent, match="text"):
        await app.run("take_note", {})
    with pytest.raises(LookupError, match="it has note"):
        await app.find("notes")


async def test_it_is_reached_over_http(app: AppUnderTest) -> None:
    reply = await app.post("/api/1.1/wf/take_note", {"text": "bread"})
    assert (reply.status, reply.json()) == (200, {"status": "success", "response": {"noted": "bread"}})
    assert (await app.get("/api/1.1/obj/note", headers=app.admin_headers)).status == 404  # not `api: true`


async def test_secrets_are_those_given_and_gone_afterwards(directory: Path) -> None:
    async with open_app(directory, secrets={"WORD": "open"}) as app:
        assert (await app.run("secretive", {"word": "open"})).result == {"known": True}
    assert "PENSTOCK_SECRET_WORD" not in os.environ


async def test_a_restart_loses_nothing(app: AppUnderTest) -> None:
    await app.create("note", {"text": "before"})
    run_id = await app.start("take_note", {"text": "after"}, after=timedelta(days=30))
    await app.restart()
    await app.advance(timedelta(days=31))
    assert (await app.wait_for(run_id)).state == "succeeded"
    assert await app.count("note") == 2


async def test_an_app_with_errors_is_refused_with_all_of_them(directory: Path) -> None:
    (directory / "workflows" / "bad.yaml").write_text("workflow: bad\nsteps: [{emial: you}, {create: nothing}]\n")
    with pytest.raises(ConfigurationError, match=r"(?s)bad\.yaml:2.*emial.*bad\.yaml:2.*nothing"):
        async with open_app(directory):
            pass


PLAIN_TEST = """
import pytest
from penstock.testing.fixtures import penstock_app, penstock_app_directory

@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1, 2])
async def test_mine(penstock_app, number):
    assert (await penstock_app.run("take_note", {"text": "milk"})).state == "succeeded"
    assert await penstock_app.count("note") == 1
"""


async def test_a_project_of_its_own_needs_no_server_and_leaves_none(directory: Path) -> None:
    (directory / "test_mine.py").write_text(PLAIN_TEST)
    (directory / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    temporary = directory / "tmp"
    temporary.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(directory),
        cwd=directory, env={**environment, "TMPDIR": str(temporary)}, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"2 passed" in output
    assert list(temporary.iterdir()) == []


async def test_what_the_end_of_a_run_starts_is_waited_for(app: AppUnderTest) -> None:
    await app.start("unlucky")
    await app.wait_until_idle()
    assert [note["text"] for note in await app.find("note")] == ["better luck next time"]
