"""Addresses of clients, and settings that name networks: `10.1.0.0/16,192.168.7.9`."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

Network = IPv4Network | IPv6Network


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())
    return value


Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)]
"""Networks separated by commas, or a tuple of them."""


def group_of(address: str | None) -> str:
    """For whom requests are counted: an IPv4 address, or the /64 of an IPv6 address, all of which one host has for
    itself (RFC 4291, section 2.5.1).
    """
    if address is None or ":" not in address:
        return str(address)
    read = read_address(address)
    if not isinstance(read, IPv6Address):
        return str(read or address)
    return f"{IPv6Address(int(read) >> 64 << 64)}/64"


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in `text`, also with the port that some proxies write behind it; None when there is none."""
    try:
        address = ip_address(_without_port(text))
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _without_port(text: str) -> str:
    """Some proxies write `203.0.113.7:4711` or `[2001:db8::7]:4711`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
