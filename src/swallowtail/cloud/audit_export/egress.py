"""The addresses that the Cloud may connect to for a configured receiver.

A hosted Cloud is no way into its own network.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

THIS_NETWORK: Final = ipaddress.ip_network("0.0.0.0/8")
"""Reaches this machine on Linux (RFC 1122 3.2.1.3)."""
TRANSLATED: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)
"""IPv6 forms that are for an IPv4 address, which may be one of those that are refused."""


def may_reach(address: str, allowed: Sequence[Network]) -> bool:
    """Return whether the Cloud may connect there.

    Into `allowed`, or without it anywhere but to itself and its link.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if allowed:
        return any(found.version == network.version and found in network for network in allowed)
    return not (
        found.is_loopback
        or found.is_link_local
        or found.is_multicast
        or found.is_unspecified
        or any(
            found.version == network.version and found in network
            for network in (THIS_NETWORK, *TRANSLATED)
        )
    )
