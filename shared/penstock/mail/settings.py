"""The settings of the services that send mail: the mail server, and how it is written as a URL."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

from penstock.domain.addresses import Address, parse_address
from penstock.settings import CommonSettings

_PORTS: Final = {"smtp": 25, "smtps": 465}
_STARTTLS_PORT: Final = 587


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. `is_tls` from the first byte on; `is_starttls`: encrypted by STARTTLS, which must
    succeed then.
    """

    host: str
    port: int
    username: str | None
    password: str | None
    is_tls: bool
    is_starttls: bool


def parse_smtp_url(url: str) -> MailServer:
    """`smtp://user:password@host:port?starttls=1` or `smtps://…`. Raises ValueError for anything else."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("write it as smtp://user:password@host:port?starttls=1, or smtps://… for TLS from the start")
    is_starttls = parse_qs(parts.query).get("starttls", ["0"])[-1].lower() in {"1", "true", "yes"}
    default_port = _STARTTLS_PORT if is_starttls else _PORTS[parts.scheme]
    return MailServer(
        host=parts.hostname,
        port=parts.port or default_port,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        is_tls=parts.scheme == "smtps",
        is_starttls=is_starttls,
    )


class MailSettings(CommonSettings):
    """`PENSTOCK_*` of a process that sends mail."""

    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server, as smtp://user:password@host:port?starttls=1; none: no mail is sent by SMTP",
    )
    email_from: str = Field(
        default="Penstock <penstock@localhost>",
        description="Sender of mail to the admins, and of apps that name none in app.yaml",
    )

    @field_validator("smtp_url")
    @classmethod
    def _is_smtp_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_smtp_url(value.get_secret_value())
        return value

    @field_validator("email_from")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parse_address(value)
        return value

    @property
    def mail_server(self) -> MailServer | None:
        """The mail server, if there is one."""
        return None if self.smtp_url is None else parse_smtp_url(self.smtp_url.get_secret_value())

    @property
    def mail_sender(self) -> Address:
        """`email_from`, parsed."""
        return parse_address(self.email_from)
