"""The settings of services that call out."""

from pydantic import Field

from penstock.networks import Networks
from penstock.settings import CommonSettings


class OutgoingSettings(CommonSettings):
    """Which networks may be reached beside the public ones."""

    outgoing_allow: Networks = Field(
        default=(),
        description="Private networks that outgoing calls may reach, as 10.1.0.0/16,192.168.7.9; by default none",
    )
