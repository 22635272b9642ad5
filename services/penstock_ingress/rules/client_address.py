"""The address of a client and the scheme that it uses, also behind reverse proxies that are trusted."""

from collections.abc import Sequence

from penstock.networks import Network, read_address

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
        address = read_address(hop)
        if address is None:
            return client
        client = str(address)
        if not _is_trusted(client, trusted):
            return client
    return client


def find_scheme(peer: str | None, scheme: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """`https` or `http`: how the client reached us, by the connection, or by the last `X-Forwarded-Proto` if a proxy
    that is trusted has sent it. What others send does not count.
    """
    if not forwarded or peer is None or not _is_trusted(peer, trusted):
        return scheme
    said = forwarded[-1].rpartition(",")[2].strip().lower()
    return said if said in {"http", "https"} else scheme


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    address = read_address(text)
    return address is not None and any(address in network for network in trusted if network.version == address.version)
