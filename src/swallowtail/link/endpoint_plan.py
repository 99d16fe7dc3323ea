"""The plan that leads from the running listeners to the desired ones.

Planned as a whole first, carried out afterwards.

An endpoint is a socket: what listens on the same address and port with the same protocol continues
to listen, whatever else changes, and its connections are not affected. New ports are opened before
old ones are closed, except where an old one occupies the place of a new one.
"""

import ipaddress
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from swallowtail.calls.config import Configuration, unsupported_protocol
from swallowtail.calls.document import ListenerSettings, Problem

Socket = tuple[str, int]
Judge = Callable[[str, int], str | None]
"""Address and port of a listener.

None when the hospital's policy allows it, else the reason (`policy.judge_listener`).
"""

DRAIN_LIMIT: Final = 30.0
"""Seconds that a connection may take to end after its listener was closed or its device was
removed.
"""
RETRY_FIRST: Final = 1.0
RETRY_CEILING: Final = 30.0


@dataclass(frozen=True, slots=True)
class OpenPort:
    """Start to listen."""

    listener: ListenerSettings


@dataclass(frozen=True, slots=True)
class ClosePort:
    """Stop listening; open connections may end within DRAIN_LIMIT."""

    socket: Socket


@dataclass(frozen=True, slots=True)
class UpdatePort:
    """Continue to listen, with these settings for the connections to come."""

    listener: ListenerSettings


@dataclass(frozen=True, slots=True)
class KeepPort:
    """A port that does not change."""

    socket: Socket


Action = OpenPort | ClosePort | UpdatePort | KeepPort


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """The actions, in their order."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class RefusedPlan:
    """A configuration that is not run; `problems` has every reason."""

    problems: tuple[Problem, ...]


def socket_of(listener: ListenerSettings) -> Socket:
    """Return the address and port of a listener, the address in its canonical form."""
    return str(ipaddress.ip_address(listener.address)), listener.port


def plan(
    running: Mapping[Socket, ListenerSettings],
    desired: Configuration,
    judge: Judge,
    served: Collection[str],
) -> EndpointPlan | RefusedPlan:
    """Plan how Link gets from `running` to `desired`.

    `running` holds what is meant to listen now, including an endpoint that failed to open, whose
    task retries. `judge` applies the hospital's policy; `served` are the protocols of this Link.
    """
    if found := tuple(_problems(desired.listeners, judge, served)):
        return RefusedPlan(found)
    wanted = {socket_of(listener): listener for listener in desired.listeners}
    kept = {
        socket
        for socket, listener in wanted.items()
        if socket in running and running[socket].protocol == listener.protocol
    }
    opening = [socket for socket in wanted if socket not in kept]
    closing = [socket for socket in running if socket not in kept]
    in_the_way = [old for old in closing if any(overlap(old, new) for new in opening)]
    actions: list[Action] = [ClosePort(socket) for socket in in_the_way]
    actions += [OpenPort(wanted[socket]) for socket in opening]
    actions += [
        KeepPort(socket) if listener == running[socket] else UpdatePort(listener)
        for socket, listener in wanted.items()
        if socket in kept
    ]
    actions += [ClosePort(socket) for socket in closing if socket not in in_the_way]
    return EndpointPlan(tuple(actions))


def retry_delay(failures: int) -> float:
    """Return the seconds until a port that has failed to open so often is tried again."""
    return min(RETRY_CEILING, RETRY_FIRST * 2.0 ** min(failures - 1, 10))


def _problems(
    listeners: Iterable[ListenerSettings], judge: Judge, served: Collection[str]
) -> Iterator[Problem]:
    seen: list[tuple[int, Socket]] = []
    for index, listener in enumerate(listeners):
        yield from unsupported_protocol(f"$.listeners[{index}]", listener.protocol, served)
        if (reason := judge(listener.address, listener.port)) is not None:
            yield Problem(field=f"$.listeners[{index}].address", message=reason)
        socket = socket_of(listener)
        for other, taken in seen:
            if overlap(socket, taken):
                yield Problem(
                    field=f"$.listeners[{index}].port",
                    message=(
                        f"port {listener.port} on {listener.address} is used by listener {other};"
                        " give each its own"
                    ),
                )
        seen.append((index, socket))


def overlap(one: Socket, other: Socket) -> bool:
    """Return whether two sockets cannot listen at once.

    They have the same port, and the same address or one that means all of them.
    """
    if one[1] != other[1]:
        return False
    addresses = ipaddress.ip_address(one[0]), ipaddress.ip_address(other[0])
    if addresses[0].version != addresses[1].version:  # asyncio opens IPv6 sockets for IPv6 alone
        return False
    return addresses[0] == addresses[1] or any(address.is_unspecified for address in addresses)
