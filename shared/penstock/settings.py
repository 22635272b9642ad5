"""The settings every room shares; each room's `settings.py` adds its own. Read once, in `app.py`, before anything
connects.
"""

import os
import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from penstock.encryption import Keyring, parse_keyring
from penstock.errors import ConfigurationError


def check_keyring(value: SecretStr | None) -> SecretStr | None:
    """For validating PENSTOCK_SECRET_KEY. Raises ValueError."""
    if value is not None:
        parse_keyring(value.get_secret_value())
    return value


_HOST: Final = re.compile(r"[^\s\x00-\x20\x7f\"<>\\^`{|}/?#@\[\]:]+")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ufeff]")


def check_server_url(url: str, *, schemes: Collection[str], example: str, needs_host: bool = True) -> SplitResult:
    """The parts of the URL of a server. Raises ValueError, in words that do not repeat the URL: it holds a password.

    Several hosts may be separated by commas, as PostgreSQL's drivers understand.
    """
    if _UNPRINTABLE.search(url):
        raise ValueError(f"it holds a space or a control character, perhaps at its end; write it as {example}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"it cannot be read as a URL; write it as {example}") from None
    if parts.scheme not in schemes:
        raise ValueError(f"it has to begin with {' or '.join(f'{scheme}://' for scheme in schemes)}: {example}")
    places = parts.netloc.rpartition("@")[2]
    if not places and not needs_host:
        return parts
    for place in places.split(","):
        if (problem := _find_place_problem(place)) is not None:
            raise ValueError(f"{problem}; write it as {example}, with / ? # @ : and % in user or password as %2F %3F …")
    return parts


def _find_place_problem(place: str) -> str | None:
    """What is wrong with `host:port`."""
    in_brackets = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", place)
    if in_brackets is not None:
        port = in_brackets[2]
        try:
            ip_address(in_brackets[1].partition("%")[0])
        except ValueError:
            return "the text in [ ] is not an IPv6 address"
    else:
        host, colon, port_text = place.partition(":")
        port = port_text if colon else None
        if not host:
            return "it names no host"
        if not _HOST.fullmatch(host):
            return "its host contains characters that are not allowed in one"
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return "its port is not a number from 1 to 65535"
    return None


def check_database_url(url: str) -> str:
    """For validating PENSTOCK_DATABASE_URL. Raises ValueError."""
    schemes = ("postgresql", "postgres")
    check_server_url(url, schemes=schemes, example="postgresql://user:password@host:5432/name", needs_host=False)
    return url


def check_amqp_url(url: str) -> str:
    """For validating PENSTOCK_AMQP_URL. Raises ValueError."""
    check_server_url(url, schemes=("amqp", "amqps"), example="amqp://user:password@host:5672/vhost")
    return url


def check_files_url(url: str | None) -> str | None:
    """For validating PENSTOCK_FILES_URL. Raises ValueError."""
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return url
    if parts.scheme == "s3" and parts.netloc and not (parts.query or parts.fragment or "@" in parts.netloc):
        return url
    raise ValueError("write it as file:///directory or s3://bucket/prefix")


DatabaseUrl = Annotated[str, AfterValidator(check_database_url)]
AmqpUrl = Annotated[str, AfterValidator(check_amqp_url)]


class CommonSettings(BaseSettings):
    """`PENSTOCK_*` environment variables that mean the same everywhere. `deploy/env.example` lists all of them."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", env_ignore_empty=True, frozen=True, extra="ignore")

    database_url: DatabaseUrl = Field(description="PostgreSQL, as postgresql://user:password@host:5432/name")
    amqp_url: AmqpUrl = Field(description="RabbitMQ, as amqp://user:password@host:5672/vhost")
    admin_host: str = Field(default="127.0.0.1", description="Address of the admin port")
    admin_port: int = Field(
        default=8081, ge=0, le=65535, description="Port of /healthz, /readyz, /metrics and the management API"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console in a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The lowest level that is written"
    )
    lease_seconds: float = Field(default=15.0, ge=1, le=600, description="How long a claim holds without being renewed")
    shutdown_grace_seconds: float = Field(
        default=25.0, ge=0, description="How long a soft stop may take to finish what is in flight"
    )
    database_connections: int = Field(
        default=10, ge=2, le=200, description="Maximum PostgreSQL connections per process"
    )
    secret_key: Annotated[SecretStr | None, AfterValidator(check_keyring)] = Field(
        default=None,
        description="Encrypts stored secrets: 32 bytes in base64; several, comma-separated, while keys change",
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#]+(?:/[^\s?#]*)?$",
        description="Where clients reach the public port, such as https://api.example.com; URLs of files begin with "
        "it, by default with // and the host that a request names, and links of wait_for, by default with the path",
    )
    files_url: Annotated[str | None, AfterValidator(check_files_url)] = Field(
        default=None,
        description="Where the content of files lies: file:///directory, which all services share, or s3://bucket/prefix;"
        " by default in PostgreSQL",
    )
    files_endpoint: str | None = Field(
        default=None, description="The URL of S3-compatible storage that is not Amazon's, as https://minio.example:9000"
    )
    files_region: str = Field(default="us-east-1", description="The region of the bucket")
    files_access_key: str | None = Field(
        default=None, description="The id of its access key; by default what AWS_* or the machine's role say"
    )
    files_secret_key: SecretStr | None = Field(default=None, description="The secret of its access key")

    @property
    def files_credentials(self) -> tuple[str, str] | None:
        """The id and the secret of the access key of storage."""
        if self.files_access_key is None or self.files_secret_key is None:
            return None
        return self.files_access_key, self.files_secret_key.get_secret_value()

    @property
    def keyring(self) -> Keyring | None:
        """The keys of PENSTOCK_SECRET_KEY."""
        return None if self.secret_key is None else parse_keyring(self.secret_key.get_secret_value())

    @property
    def processes(self) -> int:
        """In how many processes the service runs."""
        return 1

    @property
    def lease(self) -> timedelta:
        """The lease as a duration."""
        return timedelta(seconds=self.lease_seconds)


class AppSettings(BaseSettings):
    """Where the app lies and where the embedded servers keep their data; for the command line."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", env_ignore_empty=True, frozen=True, extra="ignore")

    app: Path | None = Field(default=None, description="Directory of the app to serve or deploy")
    data: Path = Field(default=Path(".penstock"), description="Where `penstock up` keeps its database")


class TracingSwitch(NamedTuple):
    """Whether OpenTelemetry's variables ask for traces, the host and port they go to, and why not although it seems
    so.
    """

    is_on: bool
    place: str = ""
    problem: str = ""


_OTLP: Final = "OTEL_EXPORTER_OTLP"


def read_tracing_switch() -> TracingSwitch:
    """What the environment asks for. All else that OTEL_* say is read by OpenTelemetry's SDK itself."""
    endpoint = os.environ.get(f"{_OTLP}_TRACES_ENDPOINT") or os.environ.get(f"{_OTLP}_ENDPOINT") or ""
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    if not endpoint or is_disabled or exporter == "none":
        return TracingSwitch(is_on=False)
    if exporter != "otlp":
        return TracingSwitch(is_on=False, problem=f"OTEL_TRACES_EXPORTER is {exporter!r}; only otlp and none are known")
    protocol = os.environ.get(f"{_OTLP}_TRACES_PROTOCOL") or os.environ.get(f"{_OTLP}_PROTOCOL") or "http/protobuf"
    if protocol.strip().lower() != "http/protobuf":
        problem = f"{_OTLP}_PROTOCOL is {protocol!r}; only http/protobuf is known, which collectors take at port 4318"
        return TracingSwitch(is_on=False, problem=problem)
    return TracingSwitch(is_on=True, place=endpoint.partition("://")[2].partition("/")[0].rpartition("@")[2])


SECRET_PREFIX = "PENSTOCK_SECRET_"
KEY_VARIABLE = "PENSTOCK_SECRET_KEY"


def read_secrets() -> dict[str, str]:
    """`secrets.NAME` of every environment variable `PENSTOCK_SECRET_<NAME>` that is not empty."""
    return {
        name.removeprefix(SECRET_PREFIX): value
        for name, value in os.environ.items()
        if value and name.startswith(SECRET_PREFIX) and name != KEY_VARIABLE
    }


def make_environment(settings: BaseSettings) -> dict[str, str]:
    """The environment in which another process reads these settings: this one's, and what was given otherwise."""
    read = read_settings(type(settings))
    given = {name: value for name, value in settings if value != getattr(read, name)}
    return {**os.environ, **{f"PENSTOCK_{name.upper()}": _spell(value) for name, value in given.items()}}


def _spell(value: object) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


Settings = TypeVar("Settings", bound=BaseSettings)


def read_settings(kind: type[Settings], given: Mapping[str, object] | None = None) -> Settings:
    """The settings of a room from the environment, except those `given`, by field name.

    Raises ConfigurationError naming each variable that is missing or wrong.
    """
    try:
        return kind.model_validate(dict(given or {}))  # goes through __init__, which reads the environment
    except ValidationError as error:
        lines = [
            f"PENSTOCK_{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise ConfigurationError("wrong settings:\n  " + "\n  ".join(lines) + "\n  see deploy/env.example") from None
