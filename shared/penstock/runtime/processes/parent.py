"""The parent of a service's workers: it starts and replaces them, speaks for them, and ends after them."""

import asyncio
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from aiohttp import web
from pydantic import JsonValue

from penstock.errors import ConfigurationError
from penstock.http_server import serving
from penstock.logs import get_logger
from penstock.metrics import WORKER_RESTARTS, render_process_metrics
from penstock.runtime.probes import answer_draining, answer_health, answer_metrics, answer_readiness
from penstock.runtime.processes.channel import Channel, open_channel
from penstock.runtime.processes.merging import merge
from penstock.runtime.shutdown import CLEANUP_SECONDS, Stop, pause
from penstock.settings import CommonSettings, make_environment

log = get_logger(__name__)
_ADMIN_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 3.0
"""How long a worker may take to answer: it asks its servers, for two seconds at most."""
_START_SECONDS: Final = 120.0
"""How long a worker may take until it is ready. It waits a minute for its database."""
_MAX_PAUSE_SECONDS: Final = 30.0
_LASTING_SECONDS: Final = 60.0
"""A worker that has lived for so long is replaced at once."""
_PARENT: Final = "parent"


async def serve_workers(settings: CommonSettings, module: str, stop: Stop) -> None:
    """Run a service as `settings.processes` workers, `python -m module` each, until a soft stop, then until all have
    drained.

    Raises ConfigurationError when a worker cannot start.
    """
    crew = Crew(settings, module, stop)
    port = serving(crew.make_admin(), settings.admin_host, settings.admin_port, limit_seconds=_ADMIN_SECONDS)
    async with port:
        try:
            await crew.work()
        finally:
            await crew.end()
    if crew.failure is not None:
        raise ConfigurationError(crew.failure)


class Worker:
    """One process, and what is said to it and by it."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.number = number
        self.process = process
        self._channel = channel
        self._asked: dict[int, asyncio.Future[JsonValue]] = {}
        self._questions = 0
        self.started_at = time.monotonic()
        self.is_ready = False
        self.failure: str | None = None

    @property
    def age_seconds(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self.started_at

    def stop(self, how: str) -> None:
        """Ask it to drain (`soft`), or insist (`hard`)."""
        self._channel.say({"stop": how})

    async def live(self) -> int:
        """Hear what it says, until it has ended; its exit code, below 0 for the signal that has killed it."""
        while (said := await self._channel.hear()) is not None:
            self.is_ready |= said.get("ready") is True
            if "failed" in said:
                self.failure = str(said["failed"])
            number = said.get("id")
            answered = self._asked.get(number) if isinstance(number, int) else None
            if answered is not None and not answered.done():
                answered.set_result(said["answer"])
        code = await self.process.wait()
        await self._channel.close()
        return code

    async def ask(self, what: str) -> JsonValue:
        """Its answer. Raises TimeoutError."""
        self._questions += 1
        number = self._questions
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._channel.say({"ask": what, "id": number})
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._asked[number]
        finally:
            del self._asked[number]


class Crew:
    """The workers of a service, by number."""

    def __init__(self, settings: CommonSettings, module: str, stop: Stop) -> None:
        self._settings = settings
        self._command = (sys.executable, "-m", module)
        self._environment = make_environment(settings)
        self._stop = stop
        self._workers: dict[int, Worker] = {}
        self.failure: str | None = None

    async def work(self) -> None:
        """Keep all workers, until a soft stop; then wait for the last."""
        async with asyncio.TaskGroup() as group:
            passing_on = group.create_task(self._pass_on())
            keeping = [group.create_task(self._keep(number + 1)) for number in range(self._settings.processes)]
            await asyncio.wait(keeping)
            passing_on.cancel()

    async def end(self) -> None:
        """End what is left: at once when the grace period is over, else it may give back what it holds."""
        for worker in self._workers.values():
            worker.stop("hard")
        left = [asyncio.create_task(worker.process.wait()) for worker in self._workers.values()]
        is_over = self._stop.soft.is_set() and not self._stop.hard.is_set()
        if left and not is_over:
            await asyncio.wait(left, timeout=CLEANUP_SECONDS - 1)
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                worker.process.kill()
        if left:
            await asyncio.wait(left, timeout=1)

    async def _pass_on(self) -> None:
        await self._stop.soft.wait()
        for worker in list(self._workers.values()):
            worker.stop("soft")

    async def _keep(self, number: int) -> None:
        """Start the worker of this number, again and again."""
        rest = 0.0
        while not self._stop.soft.is_set():
            try:
                worker = await self._start(number)
            except OSError as error:
                self._give_up(number, f"{error}")
                return
            try:
                code = await worker.live()
            finally:
                if worker.process.returncode is not None:
                    del self._workers[number]
            if self._stop.soft.is_set():
                return
            log.warning("worker.ended", worker=number, pid=worker.process.pid, exit_code=code)
            if not worker.is_ready:
                self._give_up(number, worker.failure or f"it ended with exit code {code}, which its log may explain")
                return
            WORKER_RESTARTS.inc()
            rest = 0.0 if worker.age_seconds > _LASTING_SECONDS else min(max(rest * 2, 0.5), _MAX_PAUSE_SECONDS)
            await pause(rest, self._stop)

    def _give_up(self, number: int, reason: str) -> None:
        self.failure = self.failure or f"worker {number} could not start: {reason}"
        self._stop.ask()  # the others drain

    async def _start(self, number: int) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(theirs.fileno()),
                str(number),
                pass_fds=[theirs.fileno()],
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is for this process, which passes it on
            )
        worker = self._workers[number] = Worker(number, process, await open_channel(ours))
        log.info("worker.started", worker=number, pid=process.pid)
        if self._stop.soft.is_set():  # asked for while the process was made
            worker.stop("soft")
        return worker

    def make_admin(self) -> web.Application:
        """The probes of the service, which the workers answer."""
        admin = web.Application()
        admin.router.add_get("/healthz", self._answer_health)
        admin.router.add_get("/readyz", self._answer_readiness)
        admin.router.add_get("/metrics", self._answer_metrics)
        return admin

    async def _answer_health(self, _: web.Request) -> web.Response:
        found = await self._ask_all("health")
        stuck = [
            f"worker {number}: {part}"
            for number, parts in sorted(found.items())
            for part in (parts if isinstance(parts, list) else ())
        ]
        for number, worker in sorted(self._workers.items()):
            if worker.is_ready and number not in found:
                stuck.append(f"worker {number} does not answer")
            elif not worker.is_ready and worker.age_seconds > _START_SECONDS:
                stuck.append(f"worker {number} does not become ready")
        return answer_health(stuck)

    async def _answer_readiness(self, _: web.Request) -> web.Response:
        if self._stop.soft.is_set():
            return answer_draining()
        found = await self._ask_all("readiness")
        checks = {"workers": len(found) == self._settings.processes}
        for answers in found.values():
            for name, holds in (answers if isinstance(answers, dict) else {}).items():
                checks[name] = checks.get(name, True) and holds is True
        return answer_readiness(checks)

    async def _answer_metrics(self, _: web.Request) -> web.Response:
        texts = {str(number): str(text) for number, text in sorted((await self._ask_all("metrics")).items())}
        return answer_metrics(merge({_PARENT: render_process_metrics(), **texts}))

    async def _ask_all(self, what: str) -> Mapping[int, JsonValue]:
        """What those answer that are ready; nothing of those that do not answer."""
        ready = [worker for worker in list(self._workers.values()) if worker.is_ready]
        answers = await asyncio.gather(*(worker.ask(what) for worker in ready), return_exceptions=True)
        return {
            worker.number: answer
            for worker, answer in zip(ready, answers, strict=True)
            if not isinstance(answer, BaseException)
        }
