"""When to connect again: ceilings, floors, and when failures are forgotten."""

import itertools

import pytest

from swallowtail.wire.reconnect import (
    ABSENT_SECONDS,
    ESTABLISHED_SECONDS,
    ReconnectSchedule,
    SessionEnding,
)


def latest(now: float = 0.0) -> ReconnectSchedule:
    return ReconnectSchedule(lambda: 1.0, now)


def failed(schedule: ReconnectSchedule, times: int) -> ReconnectSchedule:
    for _ in range(times):
        schedule.ended(0.0, SessionEnding.FAILED)
    return schedule


def test_the_first_try_comes_within_a_second():
    assert ReconnectSchedule(lambda: 0.25, 100.0).due == 100.25


def test_the_ceiling_doubles_from_1_to_30_seconds():
    schedule = latest()
    waits = [schedule.ended(0.0, SessionEnding.FAILED) for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_the_jitter_is_full():
    random_source = itertools.cycle([0.5, 0.0, 0.1, 0.9])
    schedule = ReconnectSchedule(lambda: next(random_source), 0.0)
    waits = [schedule.ended(10.0, SessionEnding.FAILED), schedule.ended(10.0, SessionEnding.FAILED)]
    assert waits == [10.1, 10.0 + 2 * 0.5]


@pytest.mark.parametrize(
    ("ending", "seconds", "ceiling"),
    [
        (SessionEnding.LOST, ESTABLISHED_SECONDS, 1),
        (SessionEnding.LOST, ESTABLISHED_SECONDS - 0.1, 8),
        (SessionEnding.EXPELLED, 3600.0, 8),
    ],
)
def test_a_session_that_was_established_ends_a_series_of_failures(ending, seconds, ceiling):
    schedule = failed(latest(), 3)
    schedule.hello_accepted(100.0)
    now = 100.0 + seconds
    assert schedule.ended(now, ending) == now + ceiling


def test_while_nothing_listens_the_ceiling_stays_at_two_seconds_for_the_time_of_a_restart():
    schedule = latest()
    schedule.hello_accepted(0.0)
    schedule.ended(1000.0, SessionEnding.LOST)
    waits = [
        schedule.ended(now, SessionEnding.ABSENT) - now for now in (1001.0, 1003.0, 1005.0, 1059.0)
    ]
    assert waits == [2, 2, 2, 2]
    after = 1000.0 + ABSENT_SECONDS
    assert [schedule.ended(after, SessionEnding.ABSENT) - after for _ in range(6)] == [
        2,
        4,
        8,
        16,
        30,
        30,
    ]


def test_an_overload_between_refused_connections_is_not_forgotten():
    schedule = failed(latest(), 4)
    assert schedule.ended(0.0, SessionEnding.ABSENT) == 2
    assert schedule.ended(0.0, SessionEnding.FAILED) == 16


def test_retry_after_is_a_floor_with_up_to_a_quarter_on_top():
    schedule = latest()
    assert schedule.ended(0.0, SessionEnding.FAILED, retry_after=40.0) == 50.0
    assert (
        ReconnectSchedule(lambda: 0.0, 0.0).ended(0.0, SessionEnding.LOST, retry_after=40.0) == 40.0
    )
