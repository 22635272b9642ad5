"""A lean HTTP client for load: keep-alive connections that send prepared requests and count the answers.

`python -m tests.bench.http_load URL CONNECTIONS SECONDS KIND` prints answers per second and latency percentiles as
JSON. KIND says what is posted: an event of its own in each request, signed (`stripe`) or not (`plain`).
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
    """One request in flight at a time; it ends when there are no more."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._buffer = b""
        self.latencies: list[float] = []
        self.refused = 0
        self.is_stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            raise RuntimeError("more requests were answered than were prepared: raise _MAX_PER_SECOND")
        self._sent_at = time.perf_counter()
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
        self.latencies.append(time.perf_counter() - self._sent_at)
        self.refused += not head.startswith(b"HTTP/1.1 2")
        if self.is_stopped:
            self._transport.close()
        else:
            self._send()


async def load(url: str, connections: int, seconds: float, kind: str) -> dict[str, float]:
    """Answers per second, and latency percentiles in milliseconds."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    requests = iter(list(prepare(parts.netloc, parts.path, kind, int(seconds * _MAX_PER_SECOND))))
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(lambda: Connection(requests), host, port))[1] for _ in range(connections)]
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    latencies = sorted(latency for client in clients for latency in client.latencies)
    for client in clients:
        client.is_stopped = True
    await asyncio.sleep(0.2)
    return {
        "per_second": len(latencies) / took,
        "refused": sum(client.refused for client in clients),
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))))
