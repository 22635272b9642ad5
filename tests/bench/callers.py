"""Callers that each ask for one run at a time over HTTP, as the programs of `tests.bench.peers` ask for jobs.

`python -m tests.bench.callers URL WIDTH FIRST COUNT [PER_SECOND]` posts the numbers from FIRST on, COUNT of them, to a
workflow, WIDTH at once; with PER_SECOND, evenly. It prints as JSON when each was asked for (`asked`, seconds), and how
many were refused.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import TypedDict
from urllib.parse import urlsplit

import uvloop

from tests.bench.http_load import Connection

_PAYLOAD = "x" * 256


class Caller(Connection):
    """Asks until nothing is left to ask for, and then hangs up."""

    def __init__(self, requests: Iterator[bytes], interval: float = 0) -> None:
        super().__init__(requests, interval)
        self.is_done = asyncio.get_running_loop().create_future()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
            return
        self._transport.close()
        if not self.is_done.done():
            self.is_done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_done.done():
            self.is_done.set_exception(ConnectionError(f"the server hung up: {error or self._buffer!r}"))


def prepare(host: str, path: str, numbers: range, asked: list[float]) -> Iterator[bytes]:
    """Requests, each made and noted when it is asked for."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    for number in numbers:
        body = f'{{"job":{number},"payload":"{_PAYLOAD}"}}'
        asked.append(time.time())
        yield f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


class Asked(TypedDict):
    """When each was asked for, in seconds since the epoch, and how many were refused."""

    asked: list[float]
    refused: int


async def call(url: str, width: int, numbers: range, per_second: float = 0) -> Asked:
    """Ask for each number."""
    parts = urlsplit(url)
    asked: list[float] = []
    requests = prepare(parts.netloc, parts.path or "/", numbers, asked)
    loop, interval = asyncio.get_running_loop(), width / per_second if per_second else 0
    callers = []
    for _ in range(width):
        _, caller = await loop.create_connection(
            lambda: Caller(requests, interval), parts.hostname or "127.0.0.1", parts.port or 80
        )
        callers.append(caller)
    await asyncio.gather(*(caller.is_done for caller in callers))
    return {"asked": asked, "refused": sum(caller.refused for caller in callers)}


if __name__ == "__main__":
    _, url, width, first, count, *rate = sys.argv
    numbers = range(int(first), int(first) + int(count))
    print(json.dumps(uvloop.run(call(url, int(width), numbers, *map(float, rate)))))
