"""A worker: the whole service without its admin port. It answers its parent, and ends when its parent does."""

import asyncio
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from pydantic import JsonValue

from penstock.errors import PenstockError
from penstock.logs import configure_logs, mark_log
from penstock.metrics import render_metrics
from penstock.redaction import describe
from penstock.runtime.probes import Probed, read_checks
from penstock.runtime.processes.channel import Channel, open_channel
from penstock.runtime.service import Serve, Settings, find_checks, open_resources
from penstock.runtime.shutdown import CLEANUP_SECONDS, Stop, run_process

_ORPHAN_SECONDS: Final = CLEANUP_SECONDS + 2.0
"""How long a worker whose parent has died may take to give back what it holds."""


def start_worker(name: str, serve: Serve[Settings], settings: Settings, arguments: Sequence[str]) -> None:
    """The whole of a worker's main function. `arguments` are what the parent has started it with: the number of the
    socket's file, and that of the worker.
    """
    end, number = socket.socket(fileno=int(arguments[0])), int(arguments[1])
    configure_logs(settings.log_format, settings.log_level)
    mark_log(worker=number)
    threading.Thread(target=_outlive_parent, args=(end.fileno(),), daemon=True).start()
    life = partial(_live, name, serve, settings, end)
    try:
        run_process(name, life, grace_seconds=settings.shutdown_grace_seconds, on_signal=Stop.ask)
    except PenstockError:  # the parent, which knows it, says so
        sys.exit(1)


async def _live(name: str, serve: Serve[Settings], settings: Settings, end: socket.socket, stop: Stop) -> None:
    channel = await open_channel(end)
    answers = Answers(channel, stop)
    listening = asyncio.create_task(answers.listen())
    try:
        async with open_resources(settings, name, on_ready=answers.note_ready) as resources:
            answers.probed = Probed(find_checks(resources), None, resources.pulse, stop.soft.is_set)
            await serve(settings, stop, resources)
    except Exception as error:
        channel.say({"failed": describe(error)})
        raise
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await channel.close()


class Answers:
    """Does what the parent says, and answers what it asks."""

    def __init__(self, channel: Channel, stop: Stop) -> None:
        self._channel = channel
        self._stop = stop
        self.probed: Probed | None = None

    def note_ready(self) -> None:
        """The worker has begun to take work."""
        self._channel.say({"ready": True})

    async def listen(self) -> None:
        """Until the parent is gone; then this process has to go too."""
        async with asyncio.TaskGroup() as group:
            while (said := await self._channel.hear()) is not None:
                if "stop" in said:
                    self._stop.ask()
                    if said["stop"] == "hard":
                        self._stop.insist()
                else:
                    group.create_task(self._answer(said))
            self._stop.ask()
            self._stop.insist()

    async def _answer(self, asked: dict[str, JsonValue]) -> None:
        self._channel.say({"id": asked["id"], "answer": await self._find(asked["ask"])})

    async def _find(self, what: JsonValue) -> JsonValue:
        if what == "metrics":
            return render_metrics().decode()
        assert self.probed is not None, "the parent asks those that are ready"
        if what == "health":
            return [*self.probed.pulse.check()]
        return {**await read_checks(self.probed.checks)}


def _outlive_parent(descriptor: int) -> None:
    """Ends this process a while after its parent, if it has not ended by itself: its event loop may be blocked."""
    poll = select.poll()
    poll.register(descriptor, 0)  # hang-ups are always reported, and nothing else is wanted
    while not poll.poll():
        continue
    time.sleep(_ORPHAN_SECONDS)
    os._exit(1)
