"""What docs/client.md shows, done: its program, its requests, its receiver of webhooks."""

import asyncio
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.docs import ROOT, read_blocks, shell_lines
from tests.integration.client_site import running_site
from tests.integration.ingress import ADMIN_TOKEN, Answer, Ingress
from tests.pages import write_app

PAGE = ROOT / "docs" / "client.md"


@pytest.fixture
async def site(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_site(database_url, amqp_url, write_app(PAGE, tmp_path)) as running:
        yield running


async def output_of(program: Path, sign: str, shown: str, url: str) -> list[str]:
    """What the program of the page that holds `sign` prints, with `url` in place of the one that is shown."""
    (block,) = [block for block in read_blocks(PAGE) if sign in block.text and block.language == "python"]
    assert shown in block.text
    program.write_text(block.text.replace(shown, url))
    environment = {**os.environ, "TOKEN": ADMIN_TOKEN}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(program), env=environment, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().splitlines()


async def test_the_programs_of_the_page_do_what_they_say(site: Ingress, amqp_url: str, tmp_path: Path) -> None:
    program, broker = tmp_path / "program.py", "amqp://guest:guest@localhost:5672/"
    assert await output_of(program, "Client.amqp(", broker, amqp_url) == ["{'order': 'A-17', 'charged': 12.5}"]
    assert await output_of(program, "Client(", "http://localhost:8081", site.admin_url) == [
        "{'order': 'A-17', 'charged': 12.5}",
        "failed failed A-18 needs an approval",
        "scheduled",
        "True",
        "woken=0 kept=True duplicate=False",
    ]


async def test_the_requests_of_the_page_are_answered(site: Ingress) -> None:
    (block,) = [block for block in read_blocks(PAGE) if "curl " in block.text]
    assert 25 <= len(block.text.splitlines()) <= 35
    lines = [line for _, line in shell_lines(block) if line.startswith("curl ")]
    run = await send(site, lines[0], "")
    assert (run.status, run.json) == (200, {"status": "success", "response": {"order": "A-17", "charged": 12.5}})
    scheduled = await send(site, lines[1], "")
    assert scheduled.status == 201
    run_id = str(scheduled.json["id"])
    again = await send(site, lines[1], "")
    assert (again.status, again.json["id"]) == (200, run_id)
    shown, cancelled, signal = [await send(site, line, run_id) for line in lines[2:]]
    assert (shown.json["state"], cancelled.json["cancelled"], signal.json["kept"]) == ("scheduled", 1, True)


async def send(site: Ingress, line: str, run_id: str) -> Answer:
    """Send what curl would send."""
    retries, method, url, headers, body = "--retry 9 --retry-all-errors ", "", "", dict[str, str](), None
    words = iter(shlex.split(line.replace(retries, "").replace("$TOKEN", ADMIN_TOKEN))[1:])
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, headers_value = next(words).partition(": ")
            headers[name] = headers_value
        elif word == "-d":
            body = next(words).encode()
        else:
            url = re.sub(r"/ID\b", f"/{run_id}", word)
    if url.startswith("http://localhost:8080"):
        return await site.send(method, url.removeprefix("http://localhost:8080"), data=body, headers=headers)
    return await site.manage(method, url.removeprefix("http://localhost:8081"), data=body, headers=headers)
