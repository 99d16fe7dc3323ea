"""The ceiling doubles up to its last value, and jitter never exceeds it."""

from hypothesis import given
from hypothesis import strategies as st

from swallowtail.sansio.backoff import Backoff

BACKOFFS = st.builds(Backoff, first=st.floats(0.01, 60.0), last=st.floats(60.0, 1e6))


def test_the_ceiling_doubles_to_its_last_value() -> None:
    backoff = Backoff(first=2.0, last=30.0)
    assert [backoff.ceiling(failures) for failures in range(-1, 7)] == [2, 2, 4, 8, 16, 30, 30, 30]


@given(BACKOFFS, st.integers(0, 10**9), st.floats(0.0, 1.0, exclude_max=True))
def test_a_delay_is_never_longer_than_its_ceiling_which_never_falls(
    backoff: Backoff, failures: int, random: float
) -> None:
    ceiling = backoff.ceiling(failures)
    assert 0.0 <= backoff.delay(failures, random) <= ceiling <= backoff.last
    assert ceiling <= backoff.ceiling(failures + 1)
    assert backoff.delay(failures, 0.5) == ceiling / 2
