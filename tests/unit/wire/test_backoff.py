"""When to connect again: ceilings, floors, and when failures are forgotten."""

import itertools

import pytest

from swallowtail.wire.backoff import ABSENT_SECONDS, ESTABLISHED_SECONDS, Backoff, Ending


def latest(now: float = 0.0) -> Backoff:
    return Backoff(lambda: 1.0, now)


def failed(backoff: Backoff, times: int) -> Backoff:
    for _ in range(times):
        backoff.ended(0.0, Ending.FAILED)
    return backoff


def test_the_first_try_comes_within_a_second():
    assert Backoff(lambda: 0.25, 100.0).due == 100.25


def test_the_ceiling_doubles_from_1_to_30_seconds():
    backoff = latest()
    waits = [backoff.ended(0.0, Ending.FAILED) for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_the_jitter_is_full():
    dice = itertools.cycle([0.5, 0.0, 0.1, 0.9])
    backoff = Backoff(lambda: next(dice), 0.0)
    waits = [backoff.ended(10.0, Ending.FAILED), backoff.ended(10.0, Ending.FAILED)]
    assert waits == [10.1, 10.0 + 2 * 0.5]


@pytest.mark.parametrize(
    ("ending", "seconds", "ceiling"),
    [
        (Ending.LOST, ESTABLISHED_SECONDS, 1),
        (Ending.LOST, ESTABLISHED_SECONDS - 0.1, 8),
        (Ending.EXPELLED, 3600.0, 8),
    ],
)
def test_a_session_that_was_established_ends_a_series_of_failures(ending, seconds, ceiling):
    backoff = failed(latest(), 3)
    backoff.welcomed(100.0)
    now = 100.0 + seconds
    assert backoff.ended(now, ending) == now + ceiling


def test_while_nothing_listens_the_ceiling_stays_at_two_seconds_for_the_time_of_a_restart():
    backoff = latest()
    backoff.welcomed(0.0)
    backoff.ended(1000.0, Ending.LOST)
    waits = [backoff.ended(now, Ending.ABSENT) - now for now in (1001.0, 1003.0, 1005.0, 1059.0)]
    assert waits == [2, 2, 2, 2]
    after = 1000.0 + ABSENT_SECONDS
    assert [backoff.ended(after, Ending.ABSENT) - after for _ in range(6)] == [2, 4, 8, 16, 30, 30]


def test_an_overload_between_refused_connections_is_not_forgotten():
    backoff = failed(latest(), 4)
    assert backoff.ended(0.0, Ending.ABSENT) == 2
    assert backoff.ended(0.0, Ending.FAILED) == 16


def test_retry_after_is_a_floor_with_up_to_a_quarter_on_top():
    backoff = latest()
    assert backoff.ended(0.0, Ending.FAILED, retry_after=40.0) == 50.0
    assert Backoff(lambda: 0.0, 0.0).ended(0.0, Ending.LOST, retry_after=40.0) == 40.0
