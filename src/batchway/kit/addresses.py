"""Which IP addresses may be reached by users' URLs: public ones, and what the operator allows."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")

# Python's own tables differ from version to version; these hold whatever they say.
_NOT_PUBLIC = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own; Alibaba's metadata is 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform, in the midst of public addresses
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocols; Oracle's metadata is 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocols, benchmarks, identifiers that are no addresses
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)


def may_be_reached(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether an address is public, whatever it leads to, or the operator allows it."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    if _is_in(address, allowed):
        return True
    return all(_is_public(each) or _is_in(each, allowed) for each in _meant(address))


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in each for each in networks)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False  # loopback, link-local, unique-local, multicast, discard, local NAT64 …
    return address.is_global and not address.is_multicast and not _is_in(address, _NOT_PUBLIC)


def _meant(address: Address) -> tuple[Address, ...]:
    """The IPv4 addresses to which an IPv6 address leads; otherwise itself."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo  # the relay, and whom it asks
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return (address,)
