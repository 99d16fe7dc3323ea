"""Ten thousand Links whose Cloud is restarted, in virtual time.

Link's backoff against the Cloud's limits.
"""

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from swallowtail.cloud.http.connection_limits import (
    STARTS,
    AcceptedConnection,
    ConnectionLimits,
    accepted,
)
from swallowtail.wire.reconnect import ReconnectSchedule, SessionEnding
from tests.modes import amount

LINKS = 10_000
HANDSHAKE = 0.1
PATIENCE = 15.0
"""Seconds that Link waits for a connection."""


@dataclass
class Storm:
    """One outage: what the Links do, and what the Cloud does with it."""

    seed: int
    down: float
    hosts: int
    """How many addresses the Links share."""
    now: float = 0.0
    next_start: float = 0.0
    back: dict[int, float] = field(default_factory=dict)
    arrivals: Counter[int] = field(default_factory=Counter)
    started: Counter[int] = field(default_factory=Counter)
    tries: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        random_source = random.Random(self.seed)
        self.backoffs = [ReconnectSchedule(random_source.random, 0.0) for _ in range(LINKS)]
        self.limits = ConnectionLimits(0.0)
        self.links: dict[AcceptedConnection, tuple[int, float]] = {}
        self.events: list[tuple[float, int, int]] = []  # time, what, Link
        for link, backoff in enumerate(self.backoffs):
            backoff.hello_accepted(-3600.0)
            heapq.heappush(
                self.events, (backoff.ended(0.0, SessionEnding.LOST, retry_after=1.0), 0, link)
            )

    def run(self) -> None:
        """Run until every Link is back."""
        while len(self.back) < LINKS:
            self.now, what, link = heapq.heappop(self.events)
            if what == 0:
                self._try(link)
            elif what == 2:
                self.back[link] = self.now
            self._start()

    def _try(self, link: int) -> None:
        self.tries[link] += 1
        if self.now < self.down:
            self._fail(link, SessionEnding.ABSENT)
            return
        self.arrivals[int(self.now)] += 1
        one = accepted(f"10.{link % self.hosts // 250}.0.{link % self.hosts % 250}", lambda: None)
        self.links[one] = (link, self.now)
        if (dropped := self.limits.offer(one)) is not None:
            self._fail(self.links.pop(dropped)[0], SessionEnding.FAILED)

    def _start(self) -> None:
        while isinstance(found := self.limits.start(self.now), AcceptedConnection):
            link, since = self.links.pop(found)
            assert self.now - since < PATIENCE, "Link has given up: the handshake is wasted"
            self.started[int(self.now)] += 1
            self.backoffs[link].hello_accepted(self.now + HANDSHAKE)
            self.limits.prove(found)
            heapq.heappush(self.events, (self.now + HANDSHAKE, 2, link))
        if found < 1.0 and self.next_start <= self.now:
            self.next_start = self.now + found + 1e-6
            heapq.heappush(self.events, (self.next_start, 1, -1))

    def _fail(self, link: int, ending: SessionEnding) -> None:
        heapq.heappush(self.events, (self.backoffs[link].ended(self.now, ending), 0, link))


@pytest.mark.parametrize("hosts", [LINKS, 3])
@pytest.mark.parametrize("down", [4.0, 0.5, 45.0][: amount(1, 3)])
@pytest.mark.parametrize("seed", range(amount(1, 10)))
def test_ten_thousand_links_are_back_in_time_and_never_more_at_once_than_the_cloud_starts(
    seed: int, down: float, hosts: int
) -> None:
    storm = Storm(seed, down, hosts)
    storm.run()
    times = sorted(storm.back.values())
    print(
        f"down {down:g} s, {hosts} addresses: half back after {times[LINKS // 2] - down:.0f} s, all"
        f" after {times[-1] - down:.0f} s; at most {max(storm.arrivals.values())} arrivals/s;"
        f" {sum(storm.arrivals.values()) / LINKS:.1f} of {sum(storm.tries.values()) / LINKS:.1f}"
        " tries reached the Cloud"
    )
    assert times[-1] - down <= 120
    assert max(storm.started.values()) <= STARTS.per_second + STARTS.burst
    assert sum(storm.arrivals.values()) <= 6 * LINKS
