import pytest

from swallowtail.cloud.links.limits import MAX_ADDRESSES, Rate, TokenBucket, WrongCodes


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


def test_wrong_codes_close_one_address_and_no_other() -> None:
    limit = WrongCodes(0.0, per_address=Rate(per_second=0.1, burst=2.0))
    limit.wrong("192.0.2.1", 0.0)
    assert limit.wait("192.0.2.1", 0.0) == 0.0
    limit.wrong("192.0.2.1", 0.0)
    assert limit.wait("192.0.2.1", 0.0) == pytest.approx(10.0)
    assert limit.wait("192.0.2.2", 0.0) == 0.0
    assert limit.wait("192.0.2.1", 10.0) == 0.0


def test_wrong_codes_from_everywhere_close_the_door() -> None:
    limit = WrongCodes(0.0, everywhere=Rate(per_second=1.0, burst=5.0))
    for number in range(5):
        limit.wrong(f"192.0.2.{number}", 0.0)
    assert limit.wait("198.51.100.1", 0.0) == pytest.approx(1.0)


def test_addresses_are_forgotten_oldest_first() -> None:
    limit = WrongCodes(0.0, per_address=Rate(per_second=0.001, burst=1.0), everywhere=Rate(per_second=1e9, burst=1e9))
    for number in range(MAX_ADDRESSES + 1):
        limit.wrong(str(number), 0.0)
    assert limit.wait("0", 0.0) == 0.0
    assert limit.wait("1", 0.0) > 0.0
