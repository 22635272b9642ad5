"""`penstock up`: everything in one process, without any server, on data that outlives it."""

import os
import re
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import cast

import aiohttp
import pytest

from tests.acceptance.console import QUICKSTART
from tests.acceptance.embedded import Up, short_directory, up
from tests.acceptance.readable_place import make_place
from tests.eventually import eventually

MEGABYTE = 1024 * 1024


@pytest.fixture
async def running() -> AsyncIterator[Up]:
    """A `penstock up` that is not started yet."""
    async with short_directory() as directory, up(directory) as process:
        yield process


async def _post(process: Up, path: str, body: object) -> tuple[int, dict[str, object]]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{process.url}{path}", json=body, headers=process.headers) as response,
    ):
        return response.status, cast("dict[str, object]", await response.json())


async def _count(process: Up, batch: str) -> int:
    constraints = f'[{{"key": "batch", "constraint_type": "equals", "value": "{batch}"}}]'
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"{process.url}/api/1.1/obj/thing", params={"constraints": constraints}, headers=process.headers
        ) as response,
    ):
        assert response.status == 200, await response.text()
        page = (await response.json())["response"]
        return int(page["count"]) + int(page["remaining"])


@pytest.mark.timeout(240)
async def test_the_demo_finds_all_as_documented_twice_on_the_same_data(running: Up) -> None:
    for _ in range(2):
        await running.start("--demo", says="Still serving", within=110)
        story = running.out
        assert "All 10 as expected." in story
        for count in ("10 things", "8 things", "5 things", "1,000 at depth 1", "401, 0 orders", "attempt 2 succeeded"):
            assert story.count(count) >= 2, f"{count} expected and got:\n{story}"
        assert "Traceback" not in running.err
        begun = [line for line in running.err.splitlines() if line.endswith(" …")]
        assert [line.split(" ", 2)[:2] for line in begun] == [
            ["starting", "a"], ["bringing", "the"], ["deploying", "the"], ["starting", "the"],
        ]  # fmt: skip
        assert await running.stop() == 0


@pytest.mark.timeout(240)
async def test_the_demo_signs_with_a_secret_that_was_stored(running: Up) -> None:
    await running.start()
    stored = await running.command("secret", "set", "STRIPE_WEBHOOK_SECRET", stdin="whsec_of_my_own")
    assert stored.code == 0, stored
    assert await running.stop() == 0
    await running.start("--demo", says="All 10 as expected.", within=110)


async def test_a_demo_that_differs_says_so_and_exits_with_1(running: Up) -> None:
    app = running.directory / "app"
    shutil.copytree(QUICKSTART, app)
    recursion = app / "workflows" / "recursion.yaml"
    recursion.write_text(
        recursion.read_text().replace("workflow: create_thing\n", "workflow: create_thing\ndepth_limit: 4\n")
    )
    running.arguments = ("--app", str(app))
    await running.start("--demo", says="3 of 10 differ from what was expected.", within=110)
    assert re.search(r"✗ .*10 things, then cut +4 things, then cut", running.out)
    assert await running.stop() == 1


async def test_a_demo_of_another_app_is_refused(running: Up) -> None:
    app = running.directory / "app"
    app.mkdir()
    (app / "app.yaml").write_text("app: other\n")
    running.arguments = ("--app", str(app))
    await running.start("--demo")
    await eventually(lambda: "--demo plays the story of examples/quickstart" in running.err)
    assert running.process is not None
    assert await running.process.wait() == 1


async def test_it_serves_http_and_the_command_line_at_once(running: Up) -> None:
    await running.start()
    assert " …" not in running.err  # which is a log
    status, answer = await _post(running, "/api/1.1/wf/start", {"batch": "over http"})
    assert status == 200, answer
    outcome = await running.command("run", "start", "-p", "batch=from a terminal", "-e", "live", "--wait")
    assert outcome.code == 0, outcome
    for batch in ("over http", "from a terminal"):
        await eventually(partial(_has_count, running, batch, 10))
    doctor = await running.command("doctor")
    assert doctor.code == 0, doctor
    assert "broker reached" in doctor.out


async def _has_count(process: Up, batch: str, count: int) -> bool:
    return await _count(process, batch) == count


async def test_data_and_token_outlive_a_kill_in_the_middle_of_work(running: Up) -> None:
    await running.start()
    token = running.token
    names = [f"item {number}" for number in range(500)]
    status, answer = await _post(running, "/api/1.1/wf/create_list", {"batch": "killed", "names": names})
    assert status == 200, answer
    await eventually(lambda: _has_some(running, "killed"), every=0.005)
    await running.stop(signal.SIGKILL)
    assert (await running.command("doctor")).code == 1
    await running.start()
    assert running.token == token
    await eventually(lambda: _has_count(running, "killed", 500), within=60)
    assert await running.stop() == 0


async def _has_some(process: Up, batch: str) -> bool:
    return await _count(process, batch) > 0


async def test_a_term_signal_drains_and_exits_with_0(running: Up) -> None:
    await running.start()
    assert await running.stop() == 0
    assert "service.draining" in running.err
    assert "Traceback" not in running.err


async def test_the_token_is_for_its_owner_only(running: Up) -> None:
    await running.start()
    for name in ("admin-token", "secret-key", "up.json"):
        assert (running.data / name).stat().st_mode & 0o077 == 0
    await eventually(lambda: running.has_said(running.token))


async def test_secrets_are_stored_under_a_key_of_its_own_and_outlive_a_restart(running: Up) -> None:
    app = running.directory / "app"
    app.mkdir()
    (app / "app.yaml").write_text("app: guess\n")
    (app / "workflows").mkdir()
    workflow = (
        "workflow: guess\nparameters: {token: text}\nwhen: params.token == secrets.TOKEN\nsteps: [{return: "
        "{is_right: true}}]\n"
    )
    (app / "workflows" / "guess.yaml").write_text(workflow)
    running.arguments = ("--app", str(app))
    await running.start(says="not set in development: TOKEN")
    stored = await running.command("secret", "set", "TOKEN", stdin="a long token")
    assert stored.code == 0, stored

    async def is_right() -> bool:
        return (await running.command("run", "guess", "-p", "token=a long token", "--wait")).code == 0

    await eventually(is_right, within=30)
    assert await running.stop() == 0
    await running.start(says="not set in live: TOKEN")
    assert await is_right()
    listed = await running.command("secret", "list")
    assert ("development" in listed.out, "does not hold" in listed.out) == (True, False)
    found = await running.command("secret", "list", "--json")
    assert "a long token" not in running.out + running.err + found.out


async def test_a_changed_app_is_deployed_and_a_broken_one_is_not(running: Up) -> None:
    app = running.directory / "app"
    shutil.copytree(QUICKSTART, app)
    running.arguments = ("--app", str(app))
    await running.start()
    greeting = app / "workflows" / "greeting.yaml"
    _write(greeting, "hello")
    await eventually(lambda: running.has_said("development version 2, live version 2"), within=30)
    assert "+ workflow greet" in running.out
    assert await _post(running, "/api/1.1/wf/greet", {}) == (
        200,
        {"status": "success", "response": {"greeting": "hello"}},
    )
    greeting.write_text("workflow: greet\nsteps:\n  - retrun: {}\n")
    await eventually(lambda: running.has_said("not deployed"), within=30)
    assert re.search(r"error: workflows/greeting.yaml:3: .*retrun", running.out)
    assert await _post(running, "/api/1.1/wf/greet", {}) == (
        200,
        {"status": "success", "response": {"greeting": "hello"}},
    )
    _write(greeting, "hello")
    await eventually(lambda: running.has_said("correct again: the app is what is deployed"), within=30)
    _write(greeting, "hello again")
    await eventually(lambda: running.has_said("development version 3, live version 3"), within=30)
    assert await _post(running, "/api/1.1/wf/greet", {}) == (
        200,
        {"status": "success", "response": {"greeting": "hello again"}},
    )


def _write(path: Path, greeting: str) -> None:
    path.write_text(
        f"workflow: greet\non:\n  api: {{method: POST, auth: admin}}\nsteps:\n  - return: {{greeting: {greeting}}}\n"
    )


async def test_changed_python_is_imported_again_and_what_cannot_be_is_not(running: Up) -> None:
    app = running.directory / "app"
    app.mkdir()
    code = (
        "from penstock import App, api\napp = App()\n@app.workflow(on=[api()])\nasync def greet(ctx):\n    return "
        "{'greeting': '%s'}\n"
    )
    (app / "app.yaml").write_text("app: coded\npython: [greetings]\n")
    (app / "greetings.py").write_text(code % "hello")
    running.arguments = ("--app", str(app))
    await running.start()
    assert await _post(running, "/api/1.1/wf/greet", {}) == (
        200,
        {"status": "success", "response": {"greeting": "hello"}},
    )
    (app / "greetings.py").write_text("1 / 0\n")
    await eventually(lambda: running.has_said("not deployed"), within=30)
    assert "error: greetings.py:1: ZeroDivisionError: division by zero" in running.out
    assert await _post(running, "/api/1.1/wf/greet", {}) == (
        200,
        {"status": "success", "response": {"greeting": "hello"}},
    )
    (app / "greetings.py").write_text(code % "hullo")
    await eventually(lambda: running.has_said("correct again: the app is what is deployed"), within=30)
    (app / "greetings.py").write_text(code % "holla")
    await eventually(lambda: running.has_said("imported again: the Python of coded"), within=30)
    assert await _post(running, "/api/1.1/wf/greet", {}) == (
        200,
        {"status": "success", "response": {"greeting": "holla"}},
    )
    assert not list(app.rglob("__pycache__"))


async def test_a_broken_app_is_an_error_when_nothing_is_watched(running: Up) -> None:
    app = running.directory / "app"
    app.mkdir()
    (app / "app.yaml").write_text("app: broken\nsauces: {}\n")
    running.arguments = ("--app", str(app), "--no-reload")
    with pytest.raises(AssertionError, match=r"app\.yaml:2"):
        await running.start()
    assert await running.stop() == 1
    assert "Traceback" not in running.err


async def test_only_the_environments_that_are_named_get_the_app(running: Up) -> None:
    await running.start("--environment", "development")
    status, _ = await _post(running, "/version-test/api/1.1/wf/start", {"batch": "development"})
    assert status == 200
    status, _ = await _post(running, "/api/1.1/wf/start", {"batch": "live"})
    assert status == 404


async def test_its_first_line_names_a_page_that_opens(running: Up) -> None:
    await running.start("--no-reload")
    (address,) = re.findall(r"http\S+", running.out.splitlines()[0])
    assert address == f"{running.admin_url}/"
    browser = {"Accept": "text/html,*/*;q=0.8"}
    async with aiohttp.ClientSession(headers=browser) as http:
        for target in (address, f"{running.url}/"):
            async with http.get(target) as response:
                assert (response.status, response.content_type) == (200, "text/html")


async def test_a_port_that_is_taken_is_a_clear_error(running: Up) -> None:
    with (
        socket.create_server(("127.0.0.1", running.port)),
        pytest.raises(AssertionError, match=f"cannot listen on 127.0.0.1:{running.port}.*another with --port"),
    ):
        await running.start()
    assert await running.stop() == 1
    assert not running.data.exists()


async def test_data_in_use_is_a_clear_error(running: Up) -> None:
    await running.start()
    async with up(running.directory / "second") as second:
        second.directory.mkdir()
        (second.directory / "data").symlink_to(running.data)
        with pytest.raises(AssertionError, match=f"serves {second.data} already, at {running.admin_url}/"):
            await second.start()
        assert await second.stop() == 1
    assert (await running.command("doctor")).code == 0


async def test_it_idles_under_200_megabytes(running: Up) -> None:
    await running.start()
    status, _ = await _post(
        running, "/api/1.1/wf/create_list", {"batch": "load", "names": [str(number) for number in range(300)]}
    )
    assert status == 200
    await eventually(lambda: _has_count(running, "load", 300), within=60)
    assert 20 * MEGABYTE < running.memory_bytes() < 200 * MEGABYTE


@pytest.mark.parametrize("user", ["as itself", "as nobody"])
async def test_it_needs_no_rights(user: str) -> None:
    async with short_directory() as directory, short_directory() as readable, up(directory) as process:
        if user == "as nobody" and os.geteuid() == 0:
            place = make_place(readable)
            os.chown(directory, 65534, 65534)
            process.prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
            process.program, process.settings = place.program, place.environment
            process.arguments = ("--app", str(place.app))
        await process.start("--no-reload")
        status, answer = await _post(process, "/api/1.1/wf/start", {"batch": user})
        assert status == 200, answer
        await eventually(lambda: _has_count(process, user, 10))
        assert await process.stop() == 0
