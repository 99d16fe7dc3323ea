"""The policy of the hospital: the addresses that Link may connect to and listen on.

A file of the hospital, which the Cloud can only narrow.

    [outbound]                   # addresses that Link may connect to
    new_targets_per_minute = 10
    allow = [{ network = "10.1.0.0/16", ports = [104, 2575, "11112-11120"] }]

    [listen]                     # addresses that Link may listen on; without this table: all
    allow = [{ network = "10.1.2.3", ports = ["1024-65535"] }]

The policy is applied to resolved addresses, as numbers (threat 7): a name that resolves to another
address tomorrow is checked again then, and an IPv6 address that embeds IPv4 addresses is checked by
each of them (`link/ipv4_in_ipv6.py`). Loopback, link-local and multicast addresses are allowed only
by an entry inside those ranges; `0.0.0.0/0` does not open them. The metadata services of clouds are
never reached.
"""

import ipaddress
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from swallowtail.link.ipv4_in_ipv6 import Address, endpoints, form_of

DEFAULT_SOURCE: Final = "default policy"
MAX_FILE: Final = 256 * 1024
NEW_TARGETS_PER_MINUTE: Final = 10
MINUTE: Final = 60.0
_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[IpNetwork, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


PRIVATE: Final = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
SPECIAL: Final = _networks(
    "127.0.0.0/8",
    "::1/128",
    "169.254.0.0/16",
    "fe80::/10",
    "224.0.0.0/4",
    "ff00::/8",
    "240.0.0.0/4",
)
NOWHERE: Final = _networks("0.0.0.0/8", "::/128", "255.255.255.255/32")
METADATA: Final = _networks(
    "169.254.169.254/32",
    "169.254.170.2/32",
    "169.254.170.23/32",
    "fd00:ec2::254/128",
    "fd00:ec2::23/128",
    "fd20:ce::254/128",
    "100.100.100.200/32",
    "168.63.129.16/32",
)


class InvalidPolicyError(Exception):
    """The policy file cannot be used; Link does not start on a policy that it cannot read."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Addresses and ports that belong together.

    `ports` are closed ranges, empty means every port.
    """

    network: IpNetwork
    ports: tuple[tuple[int, int], ...] = ()

    def covers(self, address: Address, port: int) -> bool:
        """Return whether this entry allows `address` and `port`.

        Special ranges are allowed only by an entry inside them.
        """
        if not _within(address, self.network) or not (
            not self.ports or any(low <= port <= high for low, high in self.ports)
        ):
            return False
        special = _special(address)
        return special is None or _inside(self.network, special)

    def __str__(self) -> str:
        ports = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in self.ports)
        return f"{self.network} port {ports}" if ports else f"{self.network} every port"


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a hospital.

    `listen` is None when the file has no such table: then every address of this machine.
    """

    source: str
    outbound: tuple[Allowance, ...]
    listen: tuple[Allowance, ...] | None = None
    new_targets_per_minute: int = NEW_TARGETS_PER_MINUTE


DEFAULT: Final = Policy(DEFAULT_SOURCE, tuple(Allowance(network) for network in PRIVATE))

Target = tuple[Address, int]


def judge_target(
    policy: Policy, address: str, port: int, *, own: Iterable[Target] = ()
) -> str | None:
    """Check a connection that Link is to open.

    Returns None when it is allowed, else the reason.

    `address` is the resolved address that will be connected to, `own` are the endpoints that Link
    listens on. `limited` checks how many new ones may be reached within a minute.
    """
    try:
        target = numeric(address)
    except ValueError:
        return (
            f"{address!r} is not an IP address; resolve the name first and connect to what was"
            " checked"
        )
    if not 1 <= port <= 65_535:
        return f"port {port} does not exist"
    ends = endpoints(target)
    for end in ends:
        if (reason := _never(end, port, own)) is not None:
            return f"{_shown(target, end)} {reason}"
    for end in ends:
        if not _permitted(policy, target, end, port):
            return (
                f"{_shown(target, end)} port {port} is not allowed by {policy.source}; the hospital"
                " adds it under [outbound]"
            )
    return None


def _never(end: Address, port: int, own: Iterable[Target]) -> str | None:
    if any(_within(end, network) for network in METADATA):
        return "is a cloud's metadata service, which is never reached"
    if any(_within(end, network) for network in NOWHERE):
        return "is not the address of one machine"
    return f"port {port} is Link itself" if _is_own(end, port, own) else None


def _permitted(policy: Policy, target: Address, end: Address, port: int) -> bool:
    """Check one end of an address.

    By an entry for the end, or by one for a translator's own addresses.

    The latter is needed where a local prefix has other readings than the one in use. It opens no
    special range, as no other wide entry does.
    """
    if any(entry.covers(end, port) for entry in policy.outbound):
        return True
    form = form_of(target)
    return (
        form is not None
        and _special(end) is None
        and any(
            _inside(entry.network, form.network) and entry.covers(target, port)
            for entry in policy.outbound
        )
    )


def _shown(target: Address, end: Address) -> str:
    return str(target) if end == target else f"{end} inside {target}"


def limited(
    policy: Policy, address: str, port: int, *, now: float, recent: Mapping[Target, float]
) -> tuple[str, float] | None:
    """Return why an allowed address has to wait, and for how many seconds.

    None when it need not.

    `recent` has the time of the first connection to each address and port; the caller adds this
    one. Known ones never wait.
    """
    target, limit = numeric(address), policy.new_targets_per_minute
    fresh = sorted(first for first in recent.values() if now - first < MINUTE)
    if (target, port) in recent or len(fresh) < limit:
        return None
    after = fresh[len(fresh) - limit] + MINUTE - now
    reason = (
        f"{target} port {port} would be new address number {len(fresh) + 1} within a minute;"
        f" {policy.source} allows {limit}"
    )
    return reason, after


def judge_listener(policy: Policy, address: str, port: int) -> str | None:
    """Check an address that Link is to listen on.

    Returns None when it is allowed, else the reason.
    """
    try:
        own = numeric(address)
    except ValueError:
        return f"{address!r} is not an IP address"
    if policy.listen is None or any(_may_listen(entry, own, port) for entry in policy.listen):
        return None
    return (
        f"listening on {own} port {port} is not allowed by {policy.source}; the hospital adds it"
        " under [listen]"
    )


def numeric(address: str) -> Address:
    """Return an address as a number: IPv4-mapped as IPv4, without a scope; raises ValueError.

    Other forms that embed IPv4 stay what they are: connections are opened to them as they are, and
    a peer that chose such an address is not the machine that it embeds.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return parsed if mapped is None else mapped


def summary(policy: Policy) -> tuple[str, ...]:
    """Return in a few lines what the policy allows, for `status` and the console."""
    return tuple(_summary(policy))


def _summary(policy: Policy) -> Iterator[str]:
    if policy.source == DEFAULT_SOURCE:
        yield "default policy: no policy file was given; private networks only"
    yield from (f"may connect to {entry}" for entry in policy.outbound)
    if not policy.outbound:
        yield "may connect to nothing"
    yield f"at most {policy.new_targets_per_minute} new addresses a minute"
    if policy.listen is None:
        yield "may listen on every address of this machine"
    else:
        yield from (f"may listen on {entry}" for entry in policy.listen)
    if policy.listen == ():
        yield "may listen on nothing"


def _special(address: Address) -> IpNetwork | None:
    return next((network for network in SPECIAL if _within(address, network)), None)


def _within(address: Address, network: IpNetwork) -> bool:
    return address.version == network.version and address in network


def _inside(inner: IpNetwork, outer: IpNetwork) -> bool:
    return (
        inner.version == outer.version
        and inner.network_address in outer
        and inner.prefixlen >= outer.prefixlen
    )


def _may_listen(entry: Allowance, address: Address, port: int) -> bool:
    if (
        address.is_unspecified
    ):  # every address of the machine: only an entry that names just that, or everything
        return (
            entry.network.version == address.version
            and address == entry.network.network_address
            and entry.covers(address, port)
        )
    return entry.covers(address, port)


def _is_own(address: Address, port: int, own: Iterable[Target]) -> bool:
    return any(
        port == mine and (address == here or (here.is_unspecified and address.is_loopback))
        for here, mine in own
    )


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    network: str
    ports: tuple[Annotated[int, Meta(ge=1, le=65_535)] | str, ...] = ()


class _Outbound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    allow: tuple[_Entry, ...] = ()
    new_targets_per_minute: Annotated[int, Meta(ge=1, le=10_000)] = NEW_TARGETS_PER_MINUTE


class _Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    allow: tuple[_Entry, ...] = ()


class _PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    outbound: _Outbound = _Outbound()
    listen: _Listen | None = None


def load(path: Path | None) -> Policy:
    """Read the policy file; without one the default.

    Raises InvalidPolicyError that names the file, the place and the remedy.
    """
    if path is None:
        return DEFAULT
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise InvalidPolicyError(
            f"policy file {path} cannot be read: {error.strerror}; check --policy and its"
            " permissions"
        ) from error
    return parse(data, str(path))


def parse(data: bytes, source: str) -> Policy:
    """Read a policy; raises InvalidPolicyError that names the place and the remedy."""
    if len(data) > MAX_FILE:
        raise InvalidPolicyError(f"policy file {source} is longer than {MAX_FILE} bytes")
    try:
        file = msgspec.convert(tomllib.loads(data.decode()), _PolicyFile)
    except (
        ValueError,
        msgspec.ValidationError,
        RecursionError,
    ) as error:  # ValueError: no TOML, no UTF-8, thousands of digits
        raise InvalidPolicyError(f"policy file {source}: {error}") from error
    return Policy(
        source,
        tuple(_allowance(source, "outbound", entry) for entry in file.outbound.allow),
        (
            None
            if file.listen is None
            else tuple(_allowance(source, "listen", entry) for entry in file.listen.allow)
        ),
        file.outbound.new_targets_per_minute,
    )


def _allowance(source: str, table: str, entry: _Entry) -> Allowance:
    try:
        network = ipaddress.ip_network(entry.network)
    except ValueError as error:
        raise InvalidPolicyError(
            f"policy file {source}, [{table}]: {entry.network!r} is no network like 10.1.0.0/16:"
            f" {error}"
        ) from error
    if (
        isinstance(network, ipaddress.IPv6Network)
        and network.network_address.ipv4_mapped is not None
    ):
        raise InvalidPolicyError(
            f"policy file {source}, [{table}]: {entry.network!r} is IPv4 inside IPv6; write it as"
            " IPv4"
        )
    return Allowance(network, tuple(_range(source, table, ports) for ports in entry.ports))


def _range(source: str, table: str, ports: int | str) -> tuple[int, int]:
    if isinstance(ports, int):
        return ports, ports
    if (written := _PORTS.fullmatch(ports)) is None:
        raise InvalidPolicyError(
            f"policy file {source}, [{table}]: {ports!r} is neither a port nor a range like"
            " 11112-11120"
        )
    first, last = int(written[1]), int(written[2] or written[1])
    if not 1 <= first <= last <= 65_535:
        raise InvalidPolicyError(
            f"policy file {source}, [{table}]: {ports!r} is not a range of ports between 1 and"
            " 65535"
        )
    return first, last
