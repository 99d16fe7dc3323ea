"""When to connect again: ceilings, floors, and when failures are forgotten."""

import itertools

from swallowtail.wire.backoff import Backoff


def latest(now: float = 0.0) -> Backoff:
    return Backoff(lambda: 1.0, now)


def test_the_first_try_comes_within_a_second():
    assert Backoff(lambda: 0.25, 100.0).due == 100.25


def test_the_ceiling_doubles_from_1_to_30_seconds():
    backoff = latest()
    assert [backoff.ended(0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]


def test_the_jitter_is_full():
    dice = itertools.cycle([0.5, 0.0, 0.1, 0.9])
    backoff = Backoff(lambda: next(dice), 0.0)
    assert [backoff.ended(10.0), backoff.ended(10.0)] == [10.1, 10.0 + 2 * 0.5]


def test_a_session_that_lived_a_minute_is_a_fresh_start_and_a_shorter_one_is_not():
    backoff = latest()
    backoff.ended(0.0)
    backoff.ended(0.0)
    backoff.welcomed(100.0)
    assert backoff.ended(159.9) == 159.9 + 4
    backoff.welcomed(200.0)
    assert backoff.ended(260.0) == 261.0


def test_retry_after_is_a_floor_with_up_to_a_quarter_on_top():
    backoff = latest()
    assert backoff.ended(0.0, retry_after=40.0) == 50.0
    assert Backoff(lambda: 0.0, 0.0).ended(0.0, retry_after=40.0) == 40.0
