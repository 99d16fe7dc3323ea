"""A bounded table of buckets: many keys buy neither memory nor requests."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swallowtail.cloud.model.rates import BucketTable
from swallowtail.sansio.token_bucket import Rate, TokenBucket

RATES = st.builds(
    Rate,
    per_second=st.sampled_from([0.1, 1.0, 7.0]),
    burst=st.sampled_from([1.0, 2.0, 10.0]),
)
MOST = 3
STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.01, 1.0, 30.0, 200.0]), st.integers(0, 9)),
    max_size=80,
)


def allowed_by(rate: Rate, seconds: float) -> float:
    return rate.burst + rate.per_second * seconds + 1e-6


@given(rate=RATES, steps=STEPS)
def test_memory_is_bounded_and_no_number_of_keys_buys_more_than_their_share(
    rate: Rate,
    steps: list[tuple[float, int]],
) -> None:
    table, now = BucketTable(rate, 0.0, most=MOST), 0.0
    taken: Counter[int] = Counter()
    times: dict[int, list[float]] = defaultdict(list)
    for passed, key in steps:
        now += passed
        if not table.take(str(key), now):
            taken[key] += 1
            times[key].append(now)
        assert len(table) <= MOST
    for given_ in times.values():
        for first, start in enumerate(given_):
            for last in range(first, len(given_)):
                # its own bucket, and perhaps all of the shared one
                limit = 2 * allowed_by(rate, given_[last] - start)
                assert last - first + 1 <= limit
    assert sum(taken.values()) <= (MOST + 1) * allowed_by(rate, now)


@given(rate=RATES, steps=STEPS)
def test_keys_that_fit_are_judged_as_if_each_were_alone(
    rate: Rate,
    steps: list[tuple[float, int]],
) -> None:
    table, now = BucketTable(rate, 0.0, most=MOST), 0.0
    alone = {key: TokenBucket(rate, 0.0) for key in range(MOST)}
    for passed, drawn in steps:
        now, key = now + passed, drawn % MOST
        assert table.take(str(key), now) == pytest.approx(alone[key].take(now))


@given(st.integers(4, 60))
def test_coming_back_under_new_names_gets_one_burst_more_and_no_more(names: int) -> None:
    """An address that rotates through more keys than fit would else get a fresh burst with each."""
    rate = Rate(per_second=0.001, burst=5.0)
    table = BucketTable(rate, 0.0, most=MOST)
    passed = sum(not table.take(str(turn % names), 0.0) for turn in range(names * 20))
    assert passed == (MOST + 1) * rate.burst
