"""The bucket in numbers, and its one promise: never more than burst and rate allow."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swallowtail.sansio.token_bucket import Rate, TokenBucket


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    bucket = TokenBucket(Rate(per_second=2.0, burst=3.0), now=100.0)
    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(100.0) == pytest.approx(0.5)
    assert bucket.take(100.5) == 0.0
    assert bucket.take(100.5) == pytest.approx(0.5)


def test_a_bucket_never_holds_more_than_its_burst_and_survives_a_clock_that_goes_back() -> None:
    bucket = TokenBucket(Rate(per_second=1.0, burst=2.0), now=0.0)
    assert [bucket.take(1e6) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert bucket.take(5.0) == 1.0


@given(
    st.floats(0.01, 1_000.0),
    st.integers(1, 50),
    st.lists(st.sampled_from([0.0, 0.001, 0.3, 1.0, 70.0]), max_size=200),
)
def test_no_interval_brings_more_than_burst_and_rate(
    per_second: float, burst: int, steps: list[float]
) -> None:
    bucket, now, taken = TokenBucket(Rate(per_second, burst), 0.0), 0.0, list[float]()
    for step in steps:
        now += step
        announced = bucket.wait(now)
        assert bucket.take(now) == announced
        if not announced:
            taken.append(now)
        else:
            assert bucket.take(now + announced * 0.99) > 0, "the wait is not longer than needed"
    for (first, start), (last, end) in itertools.combinations(enumerate(taken), 2):
        assert last - first + 1 <= burst + per_second * (end - start) + 1e-6


@given(st.floats(0.01, 1_000.0), st.integers(1, 50), st.floats(0.0, 1e6))
def test_a_bucket_is_full_again_after_its_refill(
    per_second: float, burst: int, start: float
) -> None:
    rate = Rate(per_second, burst)
    bucket = TokenBucket(rate, start)
    assert bucket.is_full(start)
    for _ in range(burst):
        assert bucket.take(start) == 0.0
    assert not bucket.is_full(start)
    assert bucket.is_full(start + rate.refill * 1.001 + 1e-6)
