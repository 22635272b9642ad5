"""A whole installation as real processes: the three services, any number of each, on a database and a broker of the
test's own.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import aiohttp

from penstock.db import Database
from penstock.db.migrations import migrate
from penstock.testing.ports import find_port
from tests.acceptance.hosts import LOOPBACK, Host
from tests.eventually import eventually
from tests.site import deploy_directory

APP = Path(__file__).parent / "app"
ADMIN_TOKEN = "acceptance-admin-token-0123456789"
STRIPE_SECRET = "whsec_acceptance_0123456789abcdef"
ENVIRONMENTS = ("development", "live")
START_SECONDS = 200
"""On a machine with nothing else to do, a service is ready after two."""
STOP_SECONDS = 60
"""A service is gone 34 s after SIGTERM, whatever it does; on a busy machine, its last steps take some seconds."""


@dataclass
class Service:
    """One running service process."""

    kind: str
    process: asyncio.subprocess.Process
    admin_port: int
    port: int
    log: Path
    host: Host = LOOPBACK

    @property
    def url(self) -> str:
        return f"http://{self.host.address}:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://{self.host.address}:{self.admin_port}"

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self, *, within: float = STOP_SECONDS) -> int:
        """SIGTERM, and wait for the drain; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(within):
            return await self.process.wait()


@dataclass
class Installation:
    """Starts, faults and stops services; talks to them as their users do. They are spread over its `hosts`."""

    database_url: str
    amqp_url: str
    database: Database
    directory: Path
    http: aiohttp.ClientSession
    settings: Mapping[str, str] = field(default_factory=dict)
    logins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)
    hosts: Sequence[Host] = (LOOPBACK,)
    _numbers: Iterator[int] = field(default_factory=count)

    async def prepare(self, app: Path = APP) -> None:
        """Bring the database up to date and deploy `app` to both environments."""
        await migrate(self.database)
        await deploy_directory(self.database, app)

    async def start(self, kind: str, *, is_awaited: bool = True, **settings: str) -> Service:
        """Start one service process and wait until it is ready."""
        service = await self._begin(kind, (find_port(), find_port()), None, settings)
        if is_awaited:
            await eventually(lambda: self.is_ready(service), within=START_SECONDS)
        return service

    async def replace(self, gone: Service) -> Service:
        """Start another process of that kind on the ports of one that is gone, and wait until it is ready."""
        service = await self._begin(gone.kind, (gone.port, gone.admin_port), gone.host, {})
        await eventually(lambda: self.is_ready(service), within=START_SECONDS)
        return service

    async def _begin(
        self, kind: str, ports: tuple[int, int], host: Host | None, settings: Mapping[str, str]
    ) -> Service:
        number = next(self._numbers)  # several may begin at the same time
        log = self.directory / f"{kind}-{number}.log"
        host = host or self.hosts[number % len(self.hosts)]
        port, admin_port = ports
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")},
            "PENSTOCK_DATABASE_URL": self.database_url,
            "PENSTOCK_AMQP_URL": self.amqp_url,
            "PENSTOCK_HOST": host.address,
            "PENSTOCK_ADMIN_HOST": host.address,
            "PENSTOCK_PORT": str(port),
            "PENSTOCK_ADMIN_PORT": str(admin_port),
            "PENSTOCK_ADMIN_TOKEN": ADMIN_TOKEN,
            "PENSTOCK_SECRET_STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
            "PENSTOCK_LEASE_SECONDS": "2",
            "PENSTOCK_LOG_FORMAT": "json",
            **self.logins.get(kind, {}),
            **self.settings,
            **settings,
        }
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *host.prefix,
                sys.executable,
                "-m",
                f"penstock_{kind}",
                env=environment,
                stdout=output,
                stderr=output,
                cwd=self.directory,
            )
        service = Service(kind, process, admin_port, port, log, host)
        self.services.append(service)
        return service

    async def start_all(self) -> tuple[Service, Service, Service]:
        """One ingress, one scheduler, one executor, all ready."""
        ingress, scheduler, executor = await asyncio.gather(
            *(self.start(kind) for kind in ("ingress", "scheduler", "executor"))
        )
        return ingress, scheduler, executor

    async def is_ready(self, service: Service) -> bool:
        """What `/readyz` says; False while nobody answers. A process that ended on its own fails the test with its
        log.
        """
        assert service.process.returncode is None, f"{service.kind} ended: {service.log.read_text()[-2000:]}"
        try:
            async with self.http.get(f"{service.admin_url}/readyz", timeout=aiohttp.ClientTimeout(total=5)) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def call(
        self, ingress: Service, workflow: str, parameters: object, *, prefix: str = "", **headers: str
    ) -> tuple[int, object]:
        """POST to an API workflow as an admin; status and JSON."""
        url = f"{ingress.url}{prefix}/api/1.1/wf/{workflow}"
        all_headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", **headers}
        async with self.http.post(url, json=parameters, headers=all_headers) as response:
            return response.status, await response.json(content_type=None)

    async def manage(self, ingress: Service, method: str, path: str, body: object = None) -> tuple[int, object]:
        """A request to the management API; status and JSON."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with self.http.request(method, f"{ingress.admin_url}/v1/{path}", json=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def fetchval(self, query: str, *arguments: object) -> object:
        """One value from the database."""
        async with self.database.connection() as conn:
            return await conn.fetchval(query, *arguments)

    async def count_things(self, environment: str = "live") -> int:
        """How many things the environment holds."""
        count = await self.fetchval(f'SELECT count(*) FROM "{environment}"."thing"')
        assert isinstance(count, int)
        return count

    async def is_quiet(self, environment: str = "live") -> bool:
        """Whether every run has ended and every list is expanded."""
        open_runs = await self.fetchval(
            "SELECT count(*) FROM penstock.runs WHERE finished_at IS NULL AND environment = $1", environment
        )
        open_lists = await self.fetchval(
            "SELECT count(*) FROM penstock.lists WHERE state = 'expanding' AND environment = $1", environment
        )
        return open_runs == 0 and open_lists == 0

    async def settled(self, *, within: float = 60, environment: str = "live") -> None:
        """Wait until nothing is left to do."""
        await eventually(lambda: self.is_quiet(environment), within=within, every=0.1)

    async def close(self) -> None:
        """Stop every process that is still running, the hard way if need be. None may have been refused anything by the
        database, where each has a login of its own.
        """
        for service in self.services:
            with suppress(ProcessLookupError, TimeoutError):
                await service.stop()
            await service.kill()
        refusals = re.compile(r"InsufficientPrivilegeError: [^\n\"\\\\]*")
        refused = {f"{one.kind}: {said}" for one in self.services for said in refusals.findall(one.log.read_text())}
        assert not refused, f"penstock/db/rights.py lacks what a service does: {sorted(refused)}"
