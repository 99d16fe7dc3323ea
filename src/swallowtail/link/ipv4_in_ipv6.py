"""IPv4 addresses inside IPv6 addresses: the addresses at which a packet may end.

A translator (NAT64, SIIT) or a tunnel (6to4, Teredo, ISATAP) takes an IPv4 address out of an IPv6
one and sends to it. Which of them runs in a network cannot be seen in the address, so each form is
read in every way that its standard allows.
"""

import ipaddress
from collections.abc import Callable
from typing import Final, NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""Upper half of an interface identifier that embeds an IPv4 address (RFC 5214 6.1)."""
_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")
_LOCAL_POSITIONS: Final = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
"""Octets of the IPv4 address behind prefixes of 48, 56, 64 and 96 bits.

Octet 8 is left out (RFC 6052 2.2).
"""


def _v4(octets: bytes) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(octets)


def _last(packed: bytes) -> tuple[ipaddress.IPv4Address, ...]:
    return (_v4(packed[12:]),)


def _local_use(packed: bytes) -> tuple[ipaddress.IPv4Address, ...]:
    """Read each prefix length that the /48 leaves open (RFC 8215 3).

    A reading in 0.0.0.0/8 is a prefix length that is not in use, unless all of them are:
    translators drop such packets.
    """
    readings = dict.fromkeys(_v4(bytes(packed[at] for at in octets)) for octets in _LOCAL_POSITIONS)
    machines = tuple(reading for reading in readings if reading not in _THIS_NETWORK)
    return machines or tuple(readings)


def _six_to_four(packed: bytes) -> tuple[ipaddress.IPv4Address, ...]:
    return (_v4(packed[2:6]),)


def _teredo(packed: bytes) -> tuple[ipaddress.IPv4Address, ...]:
    """Read the server, and the client, which is stored inverted (RFC 4380 4)."""
    return _v4(packed[4:8]), _v4(bytes(octet ^ 0xFF for octet in packed[12:]))


class Form(NamedTuple):
    """A range of IPv6 addresses that embed IPv4 addresses, and how they are read."""

    network: ipaddress.IPv6Network
    read: Callable[[bytes], tuple[ipaddress.IPv4Address, ...]]


FORMS: Final = (
    Form(ipaddress.IPv6Network("::ffff:0:0/96"), _last),  # IPv4-mapped, RFC 4291 2.5.5.2
    Form(ipaddress.IPv6Network("::ffff:0:0:0/96"), _last),  # IPv4-translated, RFC 2765 2.1
    Form(ipaddress.IPv6Network("64:ff9b::/96"), _last),  # NAT64 and SIIT, RFC 6052 2.1
    Form(ipaddress.IPv6Network("64:ff9b:1::/48"), _local_use),
    Form(ipaddress.IPv6Network("2002::/16"), _six_to_four),  # RFC 3056 2
    Form(ipaddress.IPv6Network("2001::/32"), _teredo),
    Form(ipaddress.IPv6Network("::/96"), _last),  # IPv4-compatible, RFC 4291 2.5.5.1
)


def form_of(address: Address) -> Form | None:
    """Return the form that an address has.

    None for IPv4, `::`, `::1` and every other IPv6 address.
    """
    if isinstance(address, ipaddress.IPv4Address) or int(address) <= 1:
        return None
    return next((form for form in FORMS if address in form.network), None)


def endpoints(address: Address) -> tuple[Address, ...]:
    """Return every address at which a packet to `address` may end.

    `address` itself where it is an end.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    form = form_of(address)
    ends: tuple[Address, ...] = (address,) if form is None else form.read(address.packed)
    if int.from_bytes(address.packed[8:12]) in _ISATAP and int(address) >> 64:
        ends = (*ends, _v4(address.packed[12:]))
    return tuple(dict.fromkeys(ends))
