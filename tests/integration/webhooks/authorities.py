"""A certificate authority, what it vouches for, and an HTTPS server that hands out keys; all of this machine."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A key and its certificate."""

    key: RSAPrivateKey
    certificate: x509.Certificate

    @cached_property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @cached_property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_identity(
    name: str,
    issuer: Identity | None = None,
    *,
    is_authority: bool = False,
    ends: timedelta = 30 * DAY,
    bits: int = 2048,
) -> Identity:
    """A certificate, by default one that vouches for itself."""
    key, subject = generate_private_key(65537, bits), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else key
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 60 * DAY)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        # Python 3.13 holds certificates to RFC 5280, which wants these three.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, content_commitment=False,
                key_encipherment=True, data_encipherment=False, key_agreement=False, encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    return Identity(key, builder.sign(signer, SHA256()))


@dataclass
class Vault:
    """An HTTPS server on this machine; `answers` are status and body by path, `asked` what it was asked for."""

    port: int
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(request.path_qs)
        await self.gate.wait()
        status, body = self.answers.get(request.path, (404, b""))
        return web.Response(status=status, body=body)


@asynccontextmanager
async def open_vault(
    directory: Path, server: Identity, answers: Mapping[str, tuple[int, bytes]]
) -> AsyncIterator[Vault]:
    """A vault that answers at once, for as long as the block lasts."""
    (directory / "server.pem").write_bytes(server.key_pem + server.pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "server.pem")
    vault = Vault(0, dict(answers))
    vault.gate.set()
    runner = web.ServerRunner(web.Server(vault.answer))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        vault.port = runner.addresses[0][1]
        yield vault
    finally:
        await runner.cleanup()
