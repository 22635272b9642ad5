"""The settings of `penstock provision`."""

from collections.abc import Mapping

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from penstock.db.rights import SERVICES, Service
from penstock.errors import ConfigurationError
from penstock.settings import AmqpUrl, DatabaseUrl


class ProvisionSettings(BaseSettings):
    """Who makes the roles and users, and the URLs of the services that they are made for."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", env_ignore_empty=True, frozen=True, extra="ignore")

    database_url: DatabaseUrl = Field(description="PostgreSQL, as the role that owns the database and may create roles")
    rabbitmq_management_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s@/]+:[^\s@/]+@[^\s/?#@]+/?$",
        description="RabbitMQ's management API, as http://user:password@host:15672 with an administrator",
    )
    ingress_database_url: DatabaseUrl | None = Field(default=None, description="PENSTOCK_DATABASE_URL of ingresses")
    scheduler_database_url: DatabaseUrl | None = Field(default=None, description="PENSTOCK_DATABASE_URL of schedulers")
    executor_database_url: DatabaseUrl | None = Field(default=None, description="PENSTOCK_DATABASE_URL of executors")
    ingress_amqp_url: AmqpUrl | None = Field(default=None, description="PENSTOCK_AMQP_URL of ingresses")
    scheduler_amqp_url: AmqpUrl | None = Field(default=None, description="PENSTOCK_AMQP_URL of schedulers")
    executor_amqp_url: AmqpUrl | None = Field(default=None, description="PENSTOCK_AMQP_URL of executors")

    @property
    def database_urls(self) -> Mapping[Service, str]:
        """What services connect to PostgreSQL with, where it is set."""
        return self._urls("database_url")

    @property
    def amqp_urls(self) -> Mapping[Service, str]:
        """What services connect to RabbitMQ with, where it is set."""
        return self._urls("amqp_url")

    def _urls(self, kind: str) -> Mapping[Service, str]:
        urls: dict[Service, str | None] = {service: getattr(self, f"{service}_{kind}") for service in SERVICES}
        return {service: url for service, url in urls.items() if url is not None}

    def management_url(self) -> str:
        """The management API. Raises ConfigurationError where it is not set."""
        if self.rabbitmq_management_url is None:
            raise ConfigurationError(
                "PENSTOCK_RABBITMQ_MANAGEMENT_URL is needed to make broker users: set it as "
                "http://user:password@host:15672, or set no PENSTOCK_…_AMQP_URL"
            )
        return self.rabbitmq_management_url.rstrip("/")
