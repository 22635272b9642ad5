"""The services of one process: each can be started, drained and lost on its own, as separate processes can."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp

from penstock.broker.port import Broker
from penstock.db import Database, open_database
from penstock.embedded.services import find_service
from penstock.errors import ConfigurationError
from penstock.logs import get_logger
from penstock.runtime import Pulse, Resources, Stop
from penstock.settings import read_settings

log = get_logger(__name__)
OpenBroker = Callable[[str], Awaitable[Broker]]
"""Takes a client's name."""
_LOSS_SECONDS: Final = 10.0
_READY_SECONDS: Final = 30.0


@dataclass(slots=True, eq=False)
class Instance:
    """One running service with a broker client of its own. `own_database` is None for one that shares the others'
    connections.
    """

    name: str
    task: asyncio.Task[None]
    stop: Stop
    broker: Broker
    own_database: Database | None
    is_leaving: bool = False


class Fleet:
    """Starts services and watches over them: one that ends by itself ends them all."""

    def __init__(self, database_url: str, database: Database, open_broker: OpenBroker) -> None:
        self._database_url = database_url
        self._database = database
        self._open_broker = open_broker
        self._pulse = Pulse()
        self._instances: list[Instance] = []
        self._companions: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self._has_failed = asyncio.Event()

    async def start(self, name: str, *, is_apart: bool = False, given: Mapping[str, object] | None = None) -> Instance:
        """Start a service, with settings from the environment except those `given`.

        One `is_apart` has database connections of its own, so that it can be lost. Raises ConfigurationError.
        """
        service = find_service(name)
        settings = read_settings(service.settings, given)
        own_database = await open_database(self._database_url, name=f"penstock {name}", most=5) if is_apart else None
        broker = await self._open_broker(f"penstock {name}")
        stop = Stop()
        serving = service.serve(settings, stop, Resources(own_database or self._database, broker, self._pulse))
        instance = Instance(name, asyncio.create_task(serving, name=f"service {name}"), stop, broker, own_database)
        self._instances.append(instance)
        instance.task.add_done_callback(lambda task: self._note_end(instance, task))
        return instance

    def accompany(self, work: Coroutine[object, object, None]) -> None:
        """Do something else beside the services, until they end. It may end before them; if it fails, they end too."""
        companion = asyncio.create_task(work)
        self._companions.append(companion)
        companion.add_done_callback(self._note_companion_end)

    def find(self, name: str) -> Instance:
        """A running instance of the service. Raises LookupError when there is none."""
        for instance in self._instances:
            if instance.name == name and not instance.is_leaving:
                return instance
        raise LookupError(f"no {name} is running")

    async def drain(self, instance: Instance) -> None:
        """A soft stop: it finishes what is in flight."""
        instance.is_leaving = True
        instance.stop.request()
        await asyncio.wait({instance.task})
        await self._forget(instance)

    async def lose(self, instance: Instance) -> None:
        """End an instance that is apart as a crash would: first its connections go, so nothing can be said or given
        back any more.
        """
        assert instance.own_database is not None, "started apart"
        instance.is_leaving = True
        instance.own_database.cut()
        instance.task.cancel()
        await asyncio.wait({instance.task}, timeout=_LOSS_SECONDS)
        await self._forget(instance)

    async def wait_until_ready(self, admin_url: str) -> None:
        """Until the ingress answers there that it is ready. Raises what ended a service, ConfigurationError when it
        takes too long.
        """
        deadline = asyncio.get_running_loop().time() + _READY_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while asyncio.get_running_loop().time() < deadline:
                self.check()
                try:
                    async with http.get(f"{admin_url}/readyz") as response:
                        if response.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(0.02)
        raise ConfigurationError(
            f"the services did not become ready within {_READY_SECONDS:.0f} s; the log above says why"
        )

    async def wait(self, stop: Stop) -> None:
        """Until a soft stop. Raises what ended a service by itself."""
        waits = {asyncio.create_task(stop.soft.wait()), asyncio.create_task(self._has_failed.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in waits:
                waiting.cancel()
        self.check()

    def check(self) -> None:
        """Raise what ended a service by itself, if one has ended."""
        if self._failure is not None:
            raise self._failure

    async def drain_all(self) -> None:
        """A soft stop of all: first of what accepts work, whose callers wait for the others, then of the others
        together.
        """
        for is_ingress in (True, False):
            await asyncio.gather(
                *(
                    self.drain(instance)
                    for instance in list(self._instances)
                    if (instance.name == "ingress") is is_ingress
                )
            )

    async def dismiss(self) -> None:
        """End what accompanies the services."""
        for companion in self._companions:
            companion.cancel()
        await asyncio.gather(*self._companions, return_exceptions=True)

    async def close(self) -> None:
        """Cancel what still runs; each instance gives back what it holds."""
        await self.dismiss()
        for instance in self._instances:
            instance.is_leaving = True
            instance.task.cancel()
        await asyncio.gather(*(instance.task for instance in self._instances), return_exceptions=True)
        for instance in list(self._instances):
            await self._forget(instance)

    async def _forget(self, instance: Instance) -> None:
        if instance in self._instances:
            self._instances.remove(instance)
            await instance.broker.close()
            if instance.own_database is not None:
                await instance.own_database.close()

    def _note_end(self, instance: Instance, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if instance.is_leaving:
            if error is not None:
                log.warning("service.stopped", service=instance.name, error=f"{type(error).__name__}: {error}")
            return
        self._fail(error or RuntimeError(f"the {instance.name} ended by itself"))

    def _note_companion_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._has_failed.set()
