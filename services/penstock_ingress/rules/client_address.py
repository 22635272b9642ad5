"""The address of a client, also behind reverse proxies that are trusted."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from penstock.networks import Network

_MAX_HOPS = 20


def find_client(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """The client's address: the peer's, or what trusted proxies say in `X-Forwarded-For`.

    Each proxy adds the address that it was called from, so the list is read from its end for as long as those who wrote
    it are trusted: what stands before, anybody can have sent.
    """
    if not trusted or peer is None or not _is_trusted(peer, trusted):
        return peer
    client = peer
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    for hop in reversed(hops[-_MAX_HOPS:]):
        address = _read(hop)
        if address is None:
            return client
        client = str(address)
        if not _is_trusted(client, trusted):
            return client
    return client


def group_of(address: str | None) -> str:
    """For whom requests are counted: an IPv4 address, or the /64 of an IPv6 address, all of which one host has for
    itself (RFC 4291, section 2.5.1).
    """
    if address is None or ":" not in address:
        return str(address)
    read = _read(address)
    if not isinstance(read, IPv6Address):
        return str(read or address)
    return f"{IPv6Address(int(read) >> 64 << 64)}/64"


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    address = _read(text)
    return address is not None and any(address in network for network in trusted if network.version == address.version)


def _read(text: str) -> IPv4Address | IPv6Address | None:
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
