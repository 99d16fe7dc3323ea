"""The limits of accepted connections before they have proven themselves.

A connection is *proven* while a whole request is served on it, and once a hello was accepted; it is
*useful* once a response was complete or a hello was accepted. Nobody is refused for what others at
the same address do (a hospital has one address): an address with many useless connections has its
next ones started more slowly, in the order in which they came. ADR 0022.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from swallowtail.cloud.model.rates import BucketTable, host_of
from swallowtail.sansio.token_bucket import Rate, TokenBucket

STARTS: Final = Rate(per_second=200.0, burst=8.0)
"""Of all addresses.

A handshake takes 1 ms of the event loop (10,000 Links are back in a minute).
"""
USELESS: Final = Rate(per_second=0.5, burst=20.0)
"""Useless connections of an address that slow down nothing."""
SLOW_STARTS: Final = Rate(per_second=20.0, burst=1.0)
"""Of an address that had more."""
MAX_WAITING: Final = 1000
"""Five seconds of `STARTS`; Link waits for 15."""
MAX_WAITING_OF_HOST: Final = 500
MAX_UNPROVEN: Final = 2048
MAX_UNPROVEN_OF_HOST: Final = 128
MAX_HOSTS: Final = 65_536
"""About 16 MB."""


@dataclass(eq=False, slots=True)
class AcceptedConnection:
    """A connection, from its acceptance on; `abort` ends it."""

    host: str
    abort: Callable[[], object]
    useful: bool = False
    ended: bool = False


class ConnectionLimits:
    """Orders the starts of connections. Sans-IO: `now` is in seconds on a monotonic clock."""

    def __init__(self, now: float) -> None:
        self._starts = TokenBucket(STARTS, now)
        self._useless = BucketTable(USELESS, now, most=MAX_HOSTS)
        self._slow = BucketTable(SLOW_STARTS, now, most=MAX_HOSTS)
        self._waiting: OrderedDict[str, deque[AcceptedConnection]] = OrderedDict()
        self._waiting_count = 0
        self._unproven: dict[str, OrderedDict[AcceptedConnection, None]] = {}
        self._unproven_count = 0

    @property
    def waiting(self) -> int:
        """Return how many connections wait to be started."""
        return self._waiting_count

    def offer(self, connection: AcceptedConnection) -> AcceptedConnection | None:
        """Queue a connection for its start; return the one to close for it, if any.

        That is the newest of an address with many, which may be this one.
        """
        queue = self._waiting.setdefault(connection.host, deque())
        queue.append(connection)
        self._waiting_count += 1
        if len(queue) > MAX_WAITING_OF_HOST:
            return self._drop(connection.host)
        if self._waiting_count > MAX_WAITING:
            return self._drop(self._most_waiting(connection.host))
        return None

    def start(self, now: float) -> AcceptedConnection | float:
        """Return the next connection to start, or in how many seconds there may be one.

        Addresses take turns, so that one with many connections does not delay the others.
        """
        if not self._waiting_count:
            return math.inf
        if wait := self._starts.wait(now):
            return wait
        least = math.inf
        for host in self._waiting:
            if wait := self._wait_of(host, now):
                least = min(least, wait)
                continue
            self._starts.take(now)
            return self._begin(host)
        return least

    def excess(self, host: str) -> AcceptedConnection | None:
        """Return the oldest unproven connection that has to make space, if there are too many."""
        if len(self._unproven.get(host, ())) > MAX_UNPROVEN_OF_HOST:
            return next(iter(self._unproven[host]))
        if self._unproven_count > MAX_UNPROVEN:
            most = max(self._unproven.values(), key=len)
            return next(iter(most))
        return None

    def prove(self, connection: AcceptedConnection) -> None:
        """Note that a whole request is being served, or that a hello was accepted."""
        unproven = self._unproven.get(connection.host)
        if unproven is None or connection not in unproven:
            return
        del unproven[connection]
        self._unproven_count -= 1
        if not unproven:
            del self._unproven[connection.host]

    def end(self, connection: AcceptedConnection, now: float) -> None:
        """Note the end of a connection that was started."""
        if connection.ended:
            return
        connection.ended = True
        self.prove(connection)
        if not connection.useful:
            self._useless.take(connection.host, now)

    def clear(self) -> list[AcceptedConnection]:
        """Return what waits, and let it wait no more."""
        waiting = [connection for queue in self._waiting.values() for connection in queue]
        self._waiting.clear()
        self._waiting_count = 0
        return waiting

    def _wait_of(self, host: str, now: float) -> float:
        """Return how long an address has to wait; takes its turn when that is 0."""
        return self._slow.take(host, now) if self._useless.wait(host, now) else 0.0

    def _begin(self, host: str) -> AcceptedConnection:
        queue = self._waiting.pop(host)
        connection = queue.popleft()
        self._waiting_count -= 1
        if queue:
            self._waiting[host] = queue  # behind the other addresses
        self._unproven.setdefault(host, OrderedDict())[connection] = None
        self._unproven_count += 1
        return connection

    def _most_waiting(self, host: str) -> str:
        """Return an address with the most waiting connections, or `host` if it has its share."""
        if len(self._waiting[host]) * len(self._waiting) >= self._waiting_count:
            return host
        return max(self._waiting, key=lambda other: len(self._waiting[other]))

    def _drop(self, host: str) -> AcceptedConnection:
        queue = self._waiting[host]
        dropped = queue.pop()
        self._waiting_count -= 1
        if not queue:
            del self._waiting[host]
        return dropped


def accepted(address: str, abort: Callable[[], object]) -> AcceptedConnection:
    """Return a new connection from an address; the /64 of an IPv6 address counts as one."""
    return AcceptedConnection(host_of(address), abort)
