"""Which addresses calls may reach. The list is explicit, because `is_global` is true for addresses that lead inside
(6to4, Teredo, the metadata services of some clouds) and has changed between Python releases.

An address may be reached when it is public, or inside a network that is allowed (`PENSTOCK_OUTGOING_ALLOW`, a
connector's
`allow_private`). The metadata services, which hand out a machine's credentials, are out of reach unless allowed by
their very address.
"""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import Final

from penstock.networks import Network

Address = IPv4Address | IPv6Address

_REFUSED: Final = tuple(
    ip_network(network)
    for network in (
        "64:ff9b:1::/48", "2002::/16", "2001::/23", "::/96", "192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10",
        "169.254.0.0/16",
    )
)  # fmt: skip
_METADATA: Final = tuple(
    ip_network(address)
    for address in (
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
PRIVATE: Final = tuple(
    ip_network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "::1/128",
        "fc00::/7",
    )
)
"""What `allow_private: true` allows: the networks that are meant to be used inside, and this machine."""


def is_allowed(address: Address, allowed: Collection[Network]) -> bool:
    """Whether a connection to `address` may be made: public ones may, and those inside an allowed network."""
    address = unwrap(address)
    if any(address in network and not _is_swallowed(address, network) for network in allowed):
        return True
    if any(address in network for network in (*_REFUSED, *_METADATA)):
        return False
    return address.is_global and not address.is_multicast


def unwrap(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, in the two forms that systems make themselves: mapped, and NAT64's
    well-known one.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_swallowed(address: Address, network: Network) -> bool:
    """A metadata service that only happens to lie in an allowed network is not allowed with it."""
    return network.num_addresses > 1 and any(address in service for service in _METADATA)
