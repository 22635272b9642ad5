"""The documents, done: their commands and requests on a real `penstock up`, their Python as a reader would run it."""

import asyncio
import hmac
import re
import shlex
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from uuid import UUID

import aiohttp
import orjson
import pytest

from penstock.broker.port import Delivery
from penstock.broker.rabbitmq import connect
from penstock.contracts.messages import ScheduleRun
from penstock.contracts.topology import SCHEDULER_QUEUE, topology
from tests.acceptance.console import QUICKSTART, Outcome, clean_environment, penstock
from tests.acceptance.embedded import Up, short_directory, up
from tests.docs import DOCUMENTS, ROOT, Block, read_blocks, requests_of_documents, shell_lines, split_command
from tests.eventually import eventually
from tests.pages import write_app

README = ROOT / "README.md"
OPERATIONS = ROOT / "docs" / "operations.md"
SERVES = {"up", "ingress", "scheduler", "executor"}
REFUSED = {
    ("runs", "retry"): "only a failed run can be retried",
    ("data", "import"): "so nothing of this file is left to be imported",
    ("deliveries", "show"): "no delivery",
    ("deliveries", "replay"): "no delivery",
    ("dead-letters", "show"): "no dead letter",
    ("dead-letters", "retry"): "no dead letter",
    ("dead-letters", "discard"): "no dead letter",
    ("dead-letters", "resolve"): "no dead letter",
    ("provision", ""): "PENSTOCK_DATABASE_URL: Field required",
}
"""What ends with 1 where all is well, and what it says."""


FOLLOWS = ["deliveries", "tail"]
"""What does not end by itself."""


@pytest.fixture
async def running() -> AsyncIterator[Up]:
    """A `penstock up` on the quickstart."""
    async with short_directory() as directory, up(directory) as process:
        await process.start()
        yield process


def lines_of(*paths: Path) -> list[str]:
    """The lines of shell in these documents, in order."""
    blocks = [block for path in paths for block in read_blocks(path) if not block.language]
    return [line for block in blocks for _, line in shell_lines(block)]


@pytest.mark.timeout(300)
async def test_the_commands_of_the_documents_do_what_they_say(running: Up, tmp_path: Path) -> None:
    started = await running.command("run", "start", "-p", "batch=docs", "--json")
    file = str(tmp_path / "orders.csv")
    values = {
        "ID": str(started.json["id"]), "DIR": str(QUICKSTART), "NAME": "start", "key=value": "batch=docs",
        "orders.csv": file,
    }  # fmt: skip
    environment = clean_environment(PENSTOCK_DATA=str(running.data))
    done: list[str] = []
    for line in lines_of(README, OPERATIONS):
        for words in split_command(line) if line.startswith("penstock ") else []:
            if words[0] not in SERVES and words[:2] != FOLLOWS:
                given = [values.get(word, word) for word in words if word != "…"]
                stdin = "a value" if words[:2] == ["secret", "set"] else None
                outcome = await penstock(*given, environment=environment, stdin=stdin)
                _assert_done(line, words, outcome)
                done.append(line)
    assert len(done) >= 25


def _assert_done(line: str, words: list[str], outcome: Outcome) -> None:
    assert "Traceback" not in outcome.err, line
    refusal = REFUSED.get((words[0], words[1] if len(words) > 1 else ""))
    assert outcome.code == 0 or (outcome.code == 1 and refusal and refusal in outcome.err), f"{line}\n{outcome}"


async def test_the_requests_of_the_documents_are_answered(running: Up) -> None:
    documents = (README, ROOT / "examples" / "quickstart" / "README.md")
    requests = [line for line in lines_of(*documents) if line.startswith("curl ")]
    assert len(requests) == 3
    async with aiohttp.ClientSession() as http:
        for line in requests:
            await eventually(partial(_is_answered, http, running, line))


async def test_a_webhook_that_is_signed_by_hand_is_accepted(running: Up) -> None:
    """What the page has openssl and curl do; they need not be on the machine that tests."""
    await running.command("secret", "set", "STRIPE_WEBHOOK_SECRET", "--environment", "development", stdin="whsec_test")
    (block,) = [block for block in read_blocks(ROOT / "docs" / "testing.md") if "openssl" in block.text]
    (*_, line), values = [line for _, line in shell_lines(block)], {"MOMENT": str(int(time.time()))}
    values["BODY"] = re.findall("BODY='(.*?)'", block.text)[0]
    assert 'printf %s "$MOMENT.$BODY" | openssl dgst -sha256 -hmac whsec_test' in block.text
    signed = f"{values['MOMENT']}.{values['BODY']}".encode()
    values["SIGNATURE"] = hmac.digest(b"whsec_test", signed, "sha256").hex()
    line = line.replace('"$BODY"', shlex.quote(values["BODY"]))
    request = re.sub(r"\$([A-Z]+)", lambda name: values[name[1]], line)
    async with aiohttp.ClientSession() as http:
        await eventually(partial(_is_taken, http, running, request))  # once the secret, set a moment ago, is known


async def test_the_paths_that_the_documents_name_are_there(running: Up) -> None:
    samples = {"environment": "live", "workflow": "start", "type": "thing", "source": "stripe", "name": "x"}
    asked = requests_of_documents()
    assert len(asked) >= 20
    async with aiohttp.ClientSession(headers=running.headers) as http:
        for place, method, path in asked:
            filled = re.sub(r"[{<](\w+)[}>]", lambda part: samples.get(part[1], str(UUID(int=1))), path)
            method = "POST" if filled.startswith(("/webhooks/", "/v1/live/signals/")) else method
            is_public = path.startswith(("/api/", "/version-", "/webhooks/", "/approvals/"))
            url = f"{running.url if is_public else running.admin_url}{filled}"
            async with http.request(method, url, data=b"{}") as response:
                text = "" if response.content_type == "text/event-stream" else await response.text()
            assert response.status != 405, f"{place}: {method} {path}"
            assert "there is nothing at" not in text, f"{place}: {method} {path}"
            assert ": Not Found" not in text, f"{place}: {method} {path}"


async def _is_answered(http: aiohttp.ClientSession, running: Up, line: str) -> bool:
    """Send what curl would send; its answer has to be 200."""
    status, text = await _send(http, running, line)
    assert status == 200, text
    return True


async def _is_taken(http: aiohttp.ClientSession, running: Up, line: str) -> bool:
    status, _ = await _send(http, running, line)
    return status == 200


async def _send(http: aiohttp.ClientSession, running: Up, line: str) -> tuple[int, str]:
    text = line.replace("$(cat .penstock/admin-token)", running.token).replace("$TOKEN", running.token)
    words = iter(shlex.split(text)[1:])
    method, path, headers, body, query = "", "", dict[str, str](), None, dict[str, str]()
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-G":
            method = "GET"
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words)
        elif word == "--data-urlencode":
            name, _, value = next(words).partition("=")
            query[name] = value
        else:
            path = re.sub(r"^(http://)?localhost:8080", "", word)
    url = f"{running.url}{path}"
    async with http.request(method or "POST", url, headers=headers, data=body, params=query) as response:
        return response.status, await response.text()


def python_of(name: str, sign: str) -> Block:
    """The block of Python in docs/NAME that holds `sign`."""
    (block,) = [
        block for block in read_blocks(ROOT / "docs" / name) if block.language == "python" and sign in block.text
    ]
    return block


async def _run(*arguments: str, directory: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments,
        cwd=directory, env=clean_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(120):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


TESTED = [path for path in DOCUMENTS if any("def test_" in block.text for block in read_blocks(path))]


@pytest.mark.parametrize("page", TESTED, ids=lambda page: page.name)
async def test_the_tests_that_a_page_shows_pass(page: Path, tmp_path: Path) -> None:
    app = write_app(page, tmp_path)
    (configuration,) = [block for block in read_blocks(ROOT / "docs" / "testing.md") if block.language == "toml"]
    (app / "pyproject.toml").write_text(configuration.text)
    out = await _run("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(app / "tests"), directory=app)
    shown = sum(block.text.count("def test_") for block in read_blocks(page) if block.language == "python")
    assert f"{shown} passed" in out


async def test_the_workflows_in_the_documents_are_typed(tmp_path: Path) -> None:
    blocks = [block for page in DOCUMENTS for block in read_blocks(page) if "app = App()" in block.text]
    assert len(blocks) >= 4
    for block in blocks:
        (tmp_path / f"{block.place.path.stem}_{block.place.line}.py").write_text(block.text)
    await _run("-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(tmp_path), directory=tmp_path)


async def test_the_publisher_in_the_documents_asks_for_a_run(amqp_url: str, tmp_path: Path) -> None:
    text = python_of("messages.md", "aio_pika").text
    assert "amqp://guest:guest@localhost:5672/" in text
    path = tmp_path / "publisher.py"
    path.write_text(text.replace("amqp://guest:guest@localhost:5672/", amqp_url))
    broker = await connect(amqp_url, topology=topology(), name="test")
    taken = asyncio.Queue[Delivery]()
    try:
        await broker.consume(SCHEDULER_QUEUE, taken.put, prefetch=1)
        await _run(str(path), directory=tmp_path)
        async with asyncio.timeout(30):
            delivery = await taken.get()
        await delivery.ack()
    finally:
        await broker.close()
    asked = ScheduleRun.model_validate(orjson.loads(delivery.message.body))
    (shown,) = [block for block in read_blocks(ROOT / "docs" / "messages.md") if block.language == "json"]
    wanted = ScheduleRun.model_validate(orjson.loads(shown.text))
    assert asked == wanted.model_copy(update={"after": None})
