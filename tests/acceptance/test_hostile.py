"""The table of hostile values through every door of a real installation: each has its outcome, nothing breaks, and no
neighbour is lost.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from penstock.db import open_database
from tests.acceptance.doors import messages, programs, requests
from tests.acceptance.doors.house import PARTNER, House, unlimited, write_app
from tests.acceptance.installation import Installation
from tests.hostile import HOSTILE
from tests.mail_server import MailServer, serve_mail

Door = Callable[[House], Awaitable[None]]
DOORS: tuple[Door, ...] = (
    requests.api_parameters, requests.api_names, requests.said, requests.webhook_payloads, requests.headers,
    requests.management, requests.management_names, messages.messages, programs.command_line, programs.expressions,
    programs.python_code, programs.cells, programs.other_servers, programs.mail_addresses,
)  # fmt: skip


@pytest.fixture
async def house(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """An installation with an app that hands every value back."""
    app = write_app(tmp_path / "app")
    database = await open_database(database_url, name="hostile", most=8)
    connector = aiohttp.TCPConnector(limit=0)
    mail = MailServer()
    async with serve_mail(mail) as smtp_url, aiohttp.ClientSession(connector=connector, timeout=unlimited()) as http:
        settings = {
            "PENSTOCK_APP": str(app), "PENSTOCK_SMTP_URL": smtp_url, "PENSTOCK_SECRET_PARTNER": PARTNER,
            "PENSTOCK_OUTGOING_ALLOW": "127.0.0.0/8",
        }  # fmt: skip
        installation = Installation(database_url, amqp_url, database, tmp_path, http, settings)
        try:
            await installation.prepare(app)
            ingress, _, _ = await installation.start_all()
            yield House(installation, ingress, "", mail)
        finally:
            await installation.close()
            await database.close()


def test_the_table_holds_three_hundred_values_and_each_once() -> None:
    assert len(HOSTILE) >= 300
    assert len({(row.kind, row.value) for row in HOSTILE}) == len(HOSTILE)


@pytest.mark.timeout(400)
async def test_every_value_has_its_outcome_at_every_door(house: House) -> None:
    for door in DOORS:
        await door(house)
    await _look_at_the_whole(house)
    assert house.failures == []


async def _look_at_the_whole(house: House) -> None:
    """Nothing of ours broke: no run failed as `internal`, no process died or logged an error of ours."""
    internal = await house.installation.fetchval(
        """
        SELECT jsonb_agg(DISTINCT workflow || ': ' || (error->>'message')) FROM penstock.runs
        WHERE error->>'kind' IN ('internal', 'crashed')
        """
    )
    assert internal is None, internal
    for service in house.installation.services:
        assert service.process.returncode is None, f"{service.kind} ended"
        log = service.log.read_text()
        for sign in (
            "request.failed",
            "run.internal_error",
            "run.crashed",
            "loop.failed",
            "broker.handler_failed",
            "Traceback",
        ):
            assert sign not in log, f"{service.kind}: {log[max(log.find(sign) - 300, 0) : log.find(sign) + 1500]}"
