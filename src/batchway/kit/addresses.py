"""Decides which IP addresses a user's URL may reach: public ones, and what the operator allows."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")

# The tables of the standard library differ between Python versions; this list does not.
_NOT_PUBLIC = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service is 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform service, inside a public range
        "169.254.0.0/16",  # link-local; the metadata service of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service is 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments, benchmarks, identifiers that are not addresses
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)


def is_allowed(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether an address, and each IPv4 address embedded in it, is public or allowed."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    if _is_in(address, allowed):
        return True
    embedded = _find_embedded_addresses(address)
    return all(_is_public(each) or _is_in(each, allowed) for each in embedded)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in each for each in networks)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False  # loopback, link-local, unique-local, multicast, discard, local NAT64 …
    return address.is_global and not address.is_multicast and not _is_in(address, _NOT_PUBLIC)


def _find_embedded_addresses(address: Address) -> tuple[Address, ...]:
    """Return the IPv4 addresses that an IPv6 address embeds, or else the address itself."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo  # the Teredo server and the client
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return (address,)
