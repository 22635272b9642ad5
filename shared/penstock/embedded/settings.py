"""The settings of `penstock up`, and of commands that find it: what a service has to be given, but a server of our own
can stand in for.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from penstock.settings import AmqpUrl, DatabaseUrl, check_keyring


class ServerSettings(BaseSettings):
    """As the services' settings, except that the addresses, the token and the log level may be missing."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", env_ignore_empty=True, frozen=True, extra="ignore")

    database_url: DatabaseUrl | None = Field(
        default=None, description="PostgreSQL, as postgresql://user:password@host:5432/name"
    )
    amqp_url: AmqpUrl | None = Field(default=None, description="RabbitMQ, as amqp://user:password@host:5672/vhost")
    admin_token: SecretStr | None = Field(
        default=None, min_length=16, description="A token that is an admin everywhere"
    )
    secret_key: Annotated[SecretStr | None, AfterValidator(check_keyring)] = Field(
        default=None, description="Encrypts stored secrets"
    )
    host: str = Field(default="127.0.0.1", description="Address of the public port")
    port: int = Field(default=8080, ge=1, le=65535, description="Port of webhooks, API workflows and the Data API")
    admin_host: str = Field(default="127.0.0.1", description="Address of the admin port")
    admin_port: int = Field(
        default=8081, ge=1, le=65535, description="Port of the probes, metrics and the management API"
    )
    database_connections: int = Field(default=5, ge=2, le=200, description="Maximum PostgreSQL connections per process")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console in a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] | None = Field(
        default=None, description="The lowest level that is written"
    )
    shutdown_grace_seconds: float = Field(
        default=25.0, ge=0, description="How long a soft stop may take to finish what is in flight"
    )
