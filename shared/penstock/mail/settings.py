"""The settings of the services that send mail: the mail server, and how it is written as a URL."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote

from pydantic import Field, SecretStr, field_validator

from penstock.domain.mail_addresses import Address, parse_address
from penstock.settings import CommonSettings, check_server_url

_PORTS: Final = {"smtp": 25, "smtps": 465}
_STARTTLS_PORT: Final = 587
_EXAMPLE: Final = "smtp://user:password@host:port?starttls=1"
_YES: Final = frozenset({"1", "true", "yes"})
_NO: Final = frozenset({"0", "false", "no"})


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
    parts = check_server_url(url, schemes=tuple(_PORTS), example=_EXAMPLE)
    if "," in parts.netloc.rpartition("@")[2]:
        raise ValueError(f"it names more than one mail server; write it as {_EXAMPLE}")
    if parts.path not in {"", "/"} or parts.fragment:
        raise ValueError(f"only ?starttls=1 may follow host and port; write it as {_EXAMPLE}")
    assert parts.hostname, "a host has been found"
    is_starttls = _reads_starttls(parts.query)
    if is_starttls and parts.scheme == "smtps":
        raise ValueError("smtps:// is TLS from the start, so that STARTTLS cannot follow; leave out one of them")
    default_port = _STARTTLS_PORT if is_starttls else _PORTS[parts.scheme]
    return MailServer(
        host=parts.hostname,
        port=parts.port or default_port,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        is_tls=parts.scheme == "smtps",
        is_starttls=is_starttls,
    )


def _reads_starttls(query: str) -> bool:
    """Whether the query asks for STARTTLS. A misspelt one must not send passwords in the clear."""
    asked = parse_qs(query, keep_blank_values=True)
    value = asked.pop("starttls", ["no"])[-1].lower()
    if asked or value not in _YES | _NO:
        raise ValueError(f"only starttls=1 or starttls=0 may follow the ?; write it as {_EXAMPLE}")
    return value in _YES


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
