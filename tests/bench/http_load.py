"""A lean HTTP client for load: keep-alive connections that send prepared requests and count the answers.

`python -m tests.bench.http_load URL CONNECTIONS SECONDS KIND [RATE]` prints answers per second and latency percentiles
as JSON. KIND says what is posted: an event of its own in each request, signed (`stripe`) or not (`plain`). With RATE,
that many requests a second are due, evenly, and latency counts from when a request was due, so that one that had to
wait for the answer before it does not look fast.
"""

import asyncio
import hmac
import json
import sys
import time
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

import uvloop

SECRET = "whsec_bench_0123456789abcdef"
_PADDING = "x" * 200
_MAX_PER_SECOND = 50_000


def prepare(host: str, path: str, kind: str, count: int) -> Iterator[bytes]:
    """Whole requests, made beforehand: what a sender spends on signing would be taken from the server, which shares its
    cores.
    """
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    first, now = time.time_ns(), int(time.time())
    for number in range(first, first + count):
        body = f'{{"id":"evt_{number}","type":"invoice.paid","data":{{"padding":"{_PADDING}"}}}}'
        signature = ""
        if kind == "stripe":
            digest = hmac.digest(SECRET.encode(), f"{now}.{body}".encode(), "sha256").hex()
            signature = f"Stripe-Signature: t={now},v1={digest}\r\n"
        yield f"{head}{signature}Content-Length: {len(body)}\r\n\r\n{body}".encode()


class Connection(asyncio.Protocol):
    """One request in flight at a time, each due `interval` seconds after the one before; at once with 0."""

    def __init__(self, requests: Iterator[bytes], interval: float = 0) -> None:
        self._requests = requests
        self._interval = interval
        self._buffer = b""
        self.latencies: list[float] = []
        self.refused = 0
        self.is_stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._due_at = time.perf_counter()
        self._send()

    def _send_next(self) -> None:
        if not self._interval:
            self._due_at = time.perf_counter()
            self._send()
            return
        self._due_at += self._interval
        wait = self._due_at - time.perf_counter()
        asyncio.get_running_loop().call_later(max(wait, 0), self._send)

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            raise RuntimeError("more requests were answered than were prepared: raise _MAX_PER_SECOND")
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        start = head.lower().index(b"content-length:") + 15
        length = int(head[start : head.index(b"\r\n", start) if b"\r\n" in head[start:] else None])
        if len(rest) < length:
            return
        self._buffer = b""
        self.latencies.append(time.perf_counter() - self._due_at)
        self.refused += not head.startswith(b"HTTP/1.1 2")
        if self.is_stopped:
            self._transport.close()
        else:
            self._send_next()


async def load(url: str, connections: int, seconds: float, kind: str, rate: float = 0) -> dict[str, float]:
    """Answers per second, and latency percentiles in milliseconds, at `rate` requests a second, or as many as can be
    answered.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    requests = iter(list(prepare(parts.netloc, parts.path, kind, int(seconds * _MAX_PER_SECOND))))
    loop = asyncio.get_running_loop()
    interval = connections / rate if rate else 0
    clients = []
    began, used = time.perf_counter(), time.process_time()
    for _ in range(connections):
        clients.append((await loop.create_connection(lambda: Connection(requests, interval), host, port))[1])
        await asyncio.sleep(interval / connections)
    await asyncio.sleep(seconds)
    took, used = time.perf_counter() - began, time.process_time() - used
    latencies = sorted(latency for client in clients for latency in client.latencies)
    for client in clients:
        client.is_stopped = True
    await asyncio.sleep(0.2)
    return {
        "per_second": len(latencies) / took,
        "client_cpu_seconds": used / len(latencies),
        "refused": sum(client.refused for client in clients),
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    _, url, connections, seconds, kind, *rate = sys.argv
    print(json.dumps(uvloop.run(load(url, int(connections), float(seconds), kind, *map(float, rate)))))
