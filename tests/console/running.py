"""A console that runs: an installation of its own, and the browser before it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
from playwright.async_api import Browser

from penstock.db import open_database
from penstock.provisioning import provision
from penstock.testing.databases import fresh_database
from tests.acceptance.installation import Installation
from tests.console.browsing import Browsing
from tests.eventually import eventually
from tests.logins import logins_for, variables_of
from tests.openid_issuer import running_issuer, settings_for
from tests.servers import Servers, fresh_vhost

READY_SECONDS = 90
"""A browser starts beside them, maybe on a busy machine."""
APP = Path(__file__).parent / "app"


@asynccontextmanager
async def running_console(servers: Servers, template: str, browser: Browser, place: Path) -> AsyncIterator[Browsing]:
    """The console of an installation with the app in `tests/console/app`, each service with no more rights than it
    needs. Logs are written into `place`.
    """
    async with (
        fresh_database(servers.database_url, template=template) as database_url,
        fresh_vhost(servers) as amqp_url,
        logins_for(servers, database_url, amqp_url) as logins,
        running_issuer() as issuer,
        aiohttp.ClientSession() as http,
    ):
        database = await open_database(database_url, name="console", most=4)
        settings = {f"PENSTOCK_{name.upper()}": value for name, value in settings_for(issuer).items()}
        whole = Installation(database_url, amqp_url, database, place, http, settings, variables_of(logins))
        await provision(logins)
        try:
            await whole.prepare(APP)
            kinds = ("ingress", "scheduler", "executor")
            started = [await whole.start(kind, is_awaited=False) for kind in kinds]
            for service in started:
                await eventually(partial(whole.is_ready, service), within=READY_SECONDS, every=0.1)
            ingress = started[0]
            yield Browsing(browser, whole, ingress, issuer)
        finally:
            await whole.close()
            await database.close()
