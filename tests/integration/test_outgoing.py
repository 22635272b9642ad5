"""The client of outgoing calls against real servers: every way inside is closed, everything is bounded, and authors
learn what went wrong.
"""

import asyncio
import gzip
import ipaddress
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from multidict import CIMultiDict
from yarl import URL

from penstock.errors import Permanent, Transient
from penstock.networks import Network
from penstock.outgoing.address_guard import PRIVATE
from penstock.outgoing.client import Outgoing
from penstock.outgoing.exchange import MAX_BODY_BYTES, Request, Response
from tests.integration.executing import serve_outside

LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"),)
HINT = "PENSTOCK_OUTGOING_ALLOW, or a connector's allow_private, lists private networks that may be called"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Counts requests and the connections they came over, and redirects `/to?…` to what follows the question mark."""

    def __init__(self) -> None:
        self.url = URL()
        self.paths: list[str] = []
        self.connections: set[object] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.connections.add(request.transport)
        if request.path == "/to":
            return web.Response(status=302, headers={"Location": request.query_string})
        return web.Response(text="ok")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server on 127.0.0.1."""
    server = Server()
    async with serve_outside(server.handle) as url:
        server.url = URL(url)
        yield server


@asynccontextmanager
async def raw_server(
    answer: Answer, certificate: ssl.SSLContext | None = None, *, host: str = "127.0.0.1"
) -> AsyncIterator[str]:
    """A server that speaks whatever `answer` writes; its URL."""
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        await answer(reader, writer)

    listening = await asyncio.start_server(handle, host, 0, ssl=certificate)
    try:
        yield f"{'https' if certificate else 'http'}://{host}:{listening.sockets[0].getsockname()[1]}/x"
    finally:
        listening.close()
        for writer in writers:
            writer.close()


def saying(*parts: bytes, stays_open: bool = False) -> Answer:
    """Writes these bytes, then ends, or does nothing more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if stays_open:
            await reader.read()
        writer.close()

    return answer


async def ask(
    url: str | URL, *, allowed: tuple[Network, ...] = LOOPBACK, seconds: float = 20.0, body: bytes | None = None
) -> Response:
    """One call through a client of its own."""
    client = Outgoing(allowed)
    try:
        method = "GET" if body is None else "POST"
        return await client.send(
            Request(method, URL(url), CIMultiDict({"Authorization": "Bearer hidden"}), body), seconds
        )
    finally:
        await client.close()


async def refused(
    url: str | URL, *, allowed: tuple[Network, ...] = LOOPBACK, seconds: float = 20.0
) -> tuple[type[Exception], str, str]:
    """How a call fails: whether it may work later, its kind, and the message for its author."""
    with pytest.raises((Permanent, Transient)) as caught:
        await ask(url, allowed=allowed, seconds=seconds)
    assert isinstance(caught.value, Permanent | Transient)
    assert "hidden" not in str(caught.value)
    return type(caught.value), caught.value.kind, str(caught.value)


INSIDE = [
    "127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "017700000001", "0177.0.0.1", "0x7f000001",
    "0x7f.0.0.1", "0x7F.1",
    "127.255.255.254", "0.0.0.0", "0", "localhost", "LOCALHOST", "inside.localhost",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "169.254.170.2", "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]",
    "[fc00::1]",
    "[fe80::1]", "[fe80::1%25lo]", "224.0.0.1", "[ff02::1]", "192.88.99.1", "240.0.0.1", "255.255.255.255",
    "198.18.0.1", "192.0.2.1",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
async def test_no_way_of_writing_an_address_leads_inside(server: Server, host: str) -> None:
    error, kind, message = await refused(f"http://{host}:{server.url.port}/secret", allowed=())
    assert (error, kind in {"blocked", "request"}) == (Permanent, True), message
    assert server.paths == []


async def test_a_blocked_address_is_told_with_what_to_do(server: Server) -> None:
    assert await refused(server.url, allowed=()) == (
        Permanent,
        "blocked",
        f"GET {server.url} was blocked by the policy for outgoing calls: the host is not public; {HINT}",
    )


@pytest.mark.parametrize(
    "host", ["１２７.0.0.1", "127。0。0。1", "ⓛocalhost", "loc\u00adalhost", "①27.0.0.1", "127.0.0.1%2f.example"]
)
async def test_no_other_letters_lead_inside(server: Server, host: str) -> None:
    with pytest.raises((Permanent, Transient, ValueError)):
        await ask(f"http://{host}:{server.url.port}/secret", allowed=())
    assert server.paths == []


@pytest.mark.parametrize("host", INSIDE)
async def test_no_redirect_leads_inside(server: Server, host: str) -> None:
    location = f"http://{host}:{server.url.port}/secret"
    answer = saying(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
    async with raw_server(answer, host="127.0.0.9") as url:
        error, kind, message = await refused(url, allowed=(ipaddress.ip_network("127.0.0.9/32"),))
    assert (error, kind in {"blocked", "request"}) == (Permanent, True), message
    assert server.paths == []


async def test_what_a_request_may_reach_does_not_go_along_with_a_redirect(server: Server) -> None:
    async with serve_outside(server.handle) as elsewhere:
        client = Outgoing()
        try:
            request = Request("GET", URL(f"{elsewhere}/to?{server.url}/secret"), CIMultiDict(), allowed=LOOPBACK)
            with pytest.raises(Permanent, match="blocked"):
                await client.send(request, 20)
        finally:
            await client.close()
    assert server.paths == ["/to"]


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("file:///etc/passwd", "request"), ("gopher://127.0.0.1/", "request"), ("http://user:pass@127.0.0.1/",
        "request"),
        ("http://[::1", "request"), ("https://:80/", "request"),
    ],
)  # fmt: skip
async def test_a_redirect_to_what_is_no_url_to_call_is_told(server: Server, location: str, kind: str) -> None:
    error, told, message = await refused(f"{server.url}/to?{location}")
    assert (error, told) == (Permanent, kind), message
    assert "pass@" not in message


async def test_private_networks_are_reached_when_they_are_allowed(server: Server) -> None:
    assert (await ask(server.url / "a")).status == 200
    assert (await ask(server.url.with_host("localhost") / "b", allowed=PRIVATE)).status == 200


async def test_connections_are_used_again_by_those_who_may_reach_the_same(server: Server) -> None:
    client = Outgoing()
    try:
        for _ in range(5):
            await client.send(Request("GET", server.url, CIMultiDict(), allowed=LOOPBACK), 5)
        assert (len(server.paths), len(server.connections)) == (5, 1)
        await client.send(Request("GET", server.url, CIMultiDict(), allowed=PRIVATE), 5)
        assert len(server.connections) == 2
        with pytest.raises(Permanent, match="blocked"):
            await client.send(Request("GET", server.url, CIMultiDict()), 5)
    finally:
        await client.close()


async def test_a_port_where_nobody_listens_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a?token=hidden"
        assert await refused(url) == (
            Transient,
            "connection",
            f"GET {url.partition('?')[0]}: no connection to the host",
        )


async def test_a_name_that_does_not_exist_is_told() -> None:
    message = "GET http://no-such-host.invalid/: the name of the host cannot be resolved"
    assert await refused("http://no-such-host.invalid/") == (Transient, "connection", message)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with raw_server(saying(stays_open=True)) as url:
        assert await refused(url, seconds=0.3) == (Transient, "timeout", f"GET {url}: no complete answer within 0.3 s")


async def test_a_server_that_drips_is_given_up() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.02)
        except ConnectionError:
            return

    async with raw_server(drip) as url:
        assert await refused(url, seconds=0.5) == (Transient, "timeout", f"GET {url}: no complete answer within 0.5 s")


async def test_all_redirects_together_have_one_time(server: Server) -> None:
    async with raw_server(saying(stays_open=True)) as url:
        error, kind, message = await refused(f"{server.url}/to?{url}", seconds=0.4)
    assert (error, kind) == (Transient, "timeout"), message


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 3_000_000_000])
async def test_a_body_that_is_too_large_is_not_read_to_its_end(size: int) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    chunk = b"x" * 65536

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        try:
            for _part in range(size // len(chunk) + 1):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            return

    async with raw_server(flood) as url:
        assert await refused(url) == (Permanent, "too_large", f"GET {url} answered with more than 10 MiB")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_small_body_that_unpacks_to_gigabytes_is_not_unpacked(encoding: str) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    packed = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(200)) + packer.flush()
    assert len(packed) < 300_000
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    async with raw_server(saying(head, packed)) as url:
        assert await refused(url) == (Permanent, "too_large", f"GET {url} answered with more than 10 MiB")


async def test_a_packed_answer_is_unpacked() -> None:
    packed = gzip.compress(b'{"a": 1}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    async with raw_server(saying(head, packed)) as url:
        assert (await ask(url)).body == b'{"a": 1}'


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Large: " + b"x" * 9000 + b"\r\n",
        b"".join(b"X-%d: y\r\n" % number for number in range(200)),
        b"X" * 9000 + b": y\r\n",
    ],
    ids=["one header", "many headers", "a name"],
)
async def test_headers_that_are_too_large_are_told(headers: bytes) -> None:
    async with raw_server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + headers + b"\r\n")) as url:
        assert await refused(url) == (Permanent, "too_large", f"GET {url} answered with headers that are too large")


@pytest.mark.parametrize(("encoding", "body"), [("br", b"\x0b\x02\x80hello\x03"), ("gzip", b"this is not gzip")])
async def test_a_compression_that_cannot_be_read_is_told(encoding: str, body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with raw_server(saying(head, body)) as url:
        assert await refused(url) == (
            Permanent,
            "response",
            f"GET {url} answered with a compression that cannot be read",
        )


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
    ],
)
async def test_a_connection_that_breaks_may_work_later(answer: bytes) -> None:
    async with raw_server(saying(answer)) as url:
        error, kind, message = await refused(url)
    assert (error, kind) == (Transient, "connection"), message
    assert message.startswith(f"GET {url}: the connection failed")


async def test_a_certificate_that_nobody_vouches_for_is_told(tmp_path: Path) -> None:
    async with raw_server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), self_signed(tmp_path)) as url:
        assert await refused(url) == (
            Permanent,
            "certificate",
            f"GET {url}: the host's certificate is not trusted for this host",
        )


def self_signed(directory: Path) -> ssl.SSLContext:
    """A server's side of TLS with a certificate of its own making for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "both.pem").write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "both.pem")
    return context
