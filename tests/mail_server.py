"""A real SMTP server on a free port of this machine, whose mind a test may set: what it refuses, when it is silent or
hangs up.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from penstock import clock


@dataclass
class MailServer:
    """What it took, in `mails` (recipients and message), and what it answers.

    `answers` to whole messages, one after another, then 250. `refusals` are answers to recipients, used up one after
    another. Having taken `falls_silent_after` messages, it answers no more of them. With `tls` it asks for STARTTLS, or
    with `is_tls` speaks TLS at once.
    """

    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    refusals: dict[str, list[str]] = field(default_factory=dict)
    refuses_sender: str = ""
    tries: int = 0
    hangs_up: bool = False
    falls_silent_after: int = 1_000_000
    is_silent: bool = False
    waiting: int = 0
    most_recipients: int = 1000
    largest: int = 2**25
    knows_smtputf8: bool = True
    user: tuple[str, str] | None = None
    tls: ssl.SSLContext | None = None
    is_tls: bool = False
    connections: list[SMTP] = field(default_factory=list)

    def hang_up(self) -> None:
        """Close all connections, as servers do with those that are idle."""
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.close()

    @property
    def recipients(self) -> list[str]:
        """All who got a mail, in order."""
        return [address for addresses, _ in self.mails for address in addresses]

    async def take_sender(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """The sender."""
        if self.is_silent:
            self.waiting += 1
            await asyncio.Event().wait()
        if self.refuses_sender:
            return self.refuses_sender
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def take_recipient(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """One recipient."""
        if refusals := self.refusals.get(address):
            return refusals.pop(0)
        if len(envelope.rcpt_tos) >= self.most_recipients:
            return "452 too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def take_message(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        """The message."""
        self.tries += 1
        answer = self.answers.pop(0) if self.answers else "250 taken"
        content = envelope.content
        assert isinstance(content, bytes)
        if answer.startswith("250"):
            self.mails.append((list(envelope.rcpt_tos), message_from_bytes(content, EmailMessage, policy=default)))
        if self.tries > self.falls_silent_after:
            await asyncio.Event().wait()
        if self.hangs_up:
            assert server.transport is not None
            server.transport.close()
        return answer

    def check(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: object
    ) -> AuthResult:
        """User and password."""
        assert isinstance(given, LoginPassword)
        return AuthResult(success=self.user == (given.login.decode(), given.password.decode()), handled=False)


@asynccontextmanager
async def serve_mail(mind: MailServer) -> AsyncIterator[str]:
    """The server; its URL, without user and password."""
    loop = asyncio.get_running_loop()
    handler = SimpleNamespace(
        handle_MAIL=mind.take_sender, handle_RCPT=mind.take_recipient, handle_DATA=mind.take_message
    )

    def converse() -> SMTP:
        connection = SMTP(
            handler, hostname="localhost", loop=loop, data_size_limit=mind.largest, enable_SMTPUTF8=mind.knows_smtputf8,
            authenticator=mind.check, auth_required=mind.user is not None,
            auth_require_tls=mind.tls is not None and not mind.is_tls,
            tls_context=None if mind.is_tls else mind.tls, require_starttls=mind.tls is not None and not mind.is_tls,
        )  # fmt: skip
        mind.connections.append(connection)
        return connection

    server = await loop.create_server(converse, "127.0.0.1", 0, ssl=mind.tls if mind.is_tls else None)
    try:
        yield f"{'smtps' if mind.is_tls else 'smtp'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()  # not waited for: from Python 3.12 on, that waits for those who keep a connection


_USAGE = x509.KeyUsage(
    digital_signature=True, key_cert_sign=True, crl_sign=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


def make_certificate(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that vouches for itself, as a file for those who trust it, and a server's context
    with its key.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - timedelta(days=1))
        .not_valid_after(clock.now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # Python 3.13 holds certificates to RFC 5280, which wants these two of an authority.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_USAGE, critical=True)
        .sign(key, hashes.SHA256())
    )
    file, key_file = directory / "certificate.pem", directory / "key.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return file, context
