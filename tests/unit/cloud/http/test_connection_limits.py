"""Which connections start when: turns, slow addresses, and who makes room."""

import math

from swallowtail.cloud.http.connection_limits import (
    MAX_UNPROVEN,
    MAX_UNPROVEN_OF_HOST,
    MAX_WAITING,
    MAX_WAITING_OF_HOST,
    SLOW_STARTS,
    STARTS,
    USELESS,
    AcceptedConnection,
    ConnectionLimits,
    accepted,
)

HERE, THERE = "192.0.2.1", "198.51.100.7"


def connection(host: str = HERE) -> AcceptedConnection:
    return accepted(host, lambda: None)


def started(limits: ConnectionLimits, now: float) -> list[AcceptedConnection]:
    """Start all that may start now."""
    found = []
    while isinstance(one := limits.start(now), AcceptedConnection):
        found.append(one)
    return found


def useless(limits: ConnectionLimits, number: int, host: str = HERE, now: float = 0.0) -> None:
    for _ in range(number):
        limits.end(connection(host), now)


def test_starts_are_spread_over_time_and_lose_nobody() -> None:
    limits = ConnectionLimits(0.0)
    offered = [connection() for _ in range(100)]
    assert [limits.offer(one) for one in offered] == [None] * 100
    found = started(limits, 0.0)
    assert len(found) == STARTS.burst
    tick = 0
    while limits.waiting:
        tick += 1
        found += started(limits, tick / 1000)
    assert found == offered
    assert 0.4 < tick / 1000 < 0.5
    assert limits.start(1.0) == math.inf


def test_addresses_take_turns() -> None:
    limits = ConnectionLimits(0.0)
    for host in [HERE] * 50 + [THERE]:
        limits.offer(connection(host))
    assert [one.host for one in started(limits, 0.0)[:3]] == [HERE, THERE, HERE]


def test_an_address_with_useless_connections_is_slow_and_not_refused() -> None:
    limits = ConnectionLimits(0.0)
    useless(limits, int(USELESS.burst) + 5)
    honest = connection()
    for one in [*(connection() for _ in range(40)), honest]:
        limits.offer(one)
    now, found = 0.0, []
    while honest not in found:
        found += started(limits, now)
        now += 0.01
    assert now <= 41 / SLOW_STARTS.per_second + 0.1
    limits.offer(connection(THERE))
    assert [one.host for one in started(limits, now)] == [THERE]


def test_useful_connections_slow_down_nobody() -> None:
    limits = ConnectionLimits(0.0)
    for _ in range(100):
        one = connection()
        one.useful = True
        limits.end(one, 0.0)
    for _ in range(8):
        limits.offer(connection())
    assert len(started(limits, 0.0)) == 8


def test_an_address_recovers() -> None:
    limits = ConnectionLimits(0.0)
    useless(limits, 1000)
    for _ in range(8):
        limits.offer(connection())
    assert len(started(limits, 0.0)) == 1
    assert len(started(limits, 1 / USELESS.per_second)) == 7


def test_a_connection_ends_once() -> None:
    limits = ConnectionLimits(0.0)
    one = connection()
    for _ in range(100):
        limits.end(one, 0.0)
    limits.offer(connection())
    limits.offer(connection())
    assert len(started(limits, 0.0)) == 2


def test_what_waits_is_bounded_and_the_longest_queue_gives_way() -> None:
    limits = ConnectionLimits(0.0)
    first = [connection() for _ in range(MAX_WAITING_OF_HOST)]
    assert not any(map(limits.offer, first))
    late = connection()
    assert limits.offer(late) is late
    for number in range(MAX_WAITING - MAX_WAITING_OF_HOST):
        assert limits.offer(connection(f"10.0.{number // 250}.{number % 250}")) is None
    assert limits.offer(connection(THERE)) is first[-1]
    assert limits.waiting == MAX_WAITING


def test_the_oldest_unproven_connection_of_an_address_makes_room() -> None:
    limits = ConnectionLimits(0.0)
    found: list[AcceptedConnection] = []
    for number in range(MAX_UNPROVEN_OF_HOST + 2):
        limits.offer(connection())
        found += started(limits, float(number))
    limits.prove(found[0])
    assert limits.excess(HERE) is found[1]
    limits.end(found[1], 1e6)
    assert limits.excess(HERE) is None


def test_unproven_connections_of_all_addresses_are_bounded() -> None:
    limits = ConnectionLimits(0.0)
    for number in range(MAX_UNPROVEN + 1):
        limits.offer(connection(f"10.{number // 100}.0.{number % 2}"))
        assert len(started(limits, float(number))) == 1
    oldest = limits.excess(THERE)
    assert oldest is not None
    assert oldest.host.startswith("10.0.0.")


def test_the_64_of_an_ipv6_address_is_one_address() -> None:
    assert connection("2001:db8::1").host == connection("2001:db8::ffff").host
    assert connection("2001:db8:0:1::1").host != connection("2001:db8::1").host
    assert connection("::ffff:192.0.2.1").host == connection("192.0.2.1").host
