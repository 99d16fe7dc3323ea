"""From the configuration that the Cloud wishes to what Link has to do.

Decided as a whole first, done afterwards.

An endpoint is a socket: what listens on the same address and port goes on listening, whatever else
changes, and its associations never notice. New ports are opened before old ones are closed, but for
an old one that occupies the new one's place.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from swallowtail.calls.config import Configuration, DicomListener, Problem

Socket = tuple[str, int]
Judge = Callable[[str, int], str | None]
"""Address and port of a listener.

None when the hospital's policy allows it, else the reason (`policy.judge_listener`).
"""

DRAIN_LIMIT: Final = 30.0
"""Seconds that an association may take to end after its listener was closed or its device was
removed.
"""
RETRY_FIRST: Final = 1.0
RETRY_CEILING: Final = 30.0


@dataclass(frozen=True, slots=True)
class Open:
    """Start to listen."""

    listener: DicomListener


@dataclass(frozen=True, slots=True)
class Close:
    """Stop listening; associations that run may end within DRAIN_LIMIT."""

    socket: Socket


@dataclass(frozen=True, slots=True)
class Update:
    """Go on listening, with these settings for the associations to come."""

    listener: DicomListener


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing changes here."""

    socket: Socket


Action = Open | Close | Update | Keep


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing is done; every reason, not the first alone."""

    problems: tuple[Problem, ...]


def socket_of(listener: DicomListener) -> Socket:
    """Give the address and port of a listener, the address in its one spelling."""
    return str(ipaddress.ip_address(listener.address)), listener.port


def plan(
    running: Mapping[Socket, DicomListener], desired: Configuration, judge: Judge
) -> Plan | Refusal:
    """Decide how Link gets from `running` to `desired`, where the hospital's policy is asked
    through `judge`.

    `running` holds what is meant to listen now, an endpoint that failed to open included: its shell
    retries.
    """
    if found := tuple(_problems(desired.listeners, judge)):
        return Refusal(found)
    wanted = {socket_of(listener): listener for listener in desired.listeners}
    opening = [socket for socket in wanted if socket not in running]
    closing = [socket for socket in running if socket not in wanted]
    in_the_way = [old for old in closing if any(overlap(old, new) for new in opening)]
    actions: list[Action] = [Close(socket) for socket in in_the_way]
    actions += [Open(wanted[socket]) for socket in opening]
    actions += [
        Keep(socket) if listener == running[socket] else Update(listener)
        for socket, listener in wanted.items()
        if socket in running
    ]
    actions += [Close(socket) for socket in closing if socket not in in_the_way]
    return Plan(tuple(actions))


def retry_delay(failures: int) -> float:
    """Give the seconds until a port that could not be opened is tried again, after so many
    failures.
    """
    return min(RETRY_CEILING, RETRY_FIRST * 2.0 ** min(failures - 1, 10))


def _problems(listeners: Iterable[DicomListener], judge: Judge) -> Iterator[Problem]:
    seen: list[tuple[int, Socket]] = []
    for index, listener in enumerate(listeners):
        if (reason := judge(listener.address, listener.port)) is not None:
            yield Problem(field=f"$.listeners[{index}].address", message=reason)
        socket = socket_of(listener)
        for other, taken in seen:
            if overlap(socket, taken):
                yield Problem(
                    field=f"$.listeners[{index}].port",
                    message=(
                        f"port {listener.port} on {listener.address} is taken by listener {other};"
                        " give each its own"
                    ),
                )
        seen.append((index, socket))


def overlap(one: Socket, other: Socket) -> bool:
    """Say whether both cannot listen at once.

    The same port, and the same address or one that means all of them.
    """
    if one[1] != other[1]:
        return False
    addresses = ipaddress.ip_address(one[0]), ipaddress.ip_address(other[0])
    if addresses[0].version != addresses[1].version:  # asyncio opens IPv6 sockets for IPv6 alone
        return False
    return addresses[0] == addresses[1] or any(address.is_unspecified for address in addresses)
