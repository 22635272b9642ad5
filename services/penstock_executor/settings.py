"""The executor's own settings, beside the common ones."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from penstock.mail.settings import MailSettings

Network = IPv4Network | IPv6Network


class ExecutorSettings(MailSettings):
    """`PENSTOCK_*` of one executor process."""

    executor_concurrency: int = Field(
        default=400, ge=1, le=10_000, description="Most runs that one executor performs at once"
    )
    executor_threads: int = Field(
        default=16, ge=1, le=1000, description="Most sync Python functions that it performs at once"
    )
    app: Path | None = Field(default=None, description="Directory of the app, for its Python workflows and actions")
    outgoing_allow: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(),
        description="Private networks that outgoing calls may reach, as 10.1.0.0/16,192.168.7.9; by default none",
    )

    @field_validator("outgoing_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())
        return value
