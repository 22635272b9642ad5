"""The settings of services that call out."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from penstock.settings import CommonSettings

Network = IPv4Network | IPv6Network


class OutgoingSettings(CommonSettings):
    """Which networks may be reached beside the public ones."""

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
