import pytest

from swallowtail.cloud.model.rates import Rate, TokenBucket, host_of


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


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("x" * 999, "x" * 64),
        ("testclient", "testclient"),
    ],
)
def test_one_sender_is_an_ipv4_address_or_a_64(address: str, network: str) -> None:
    assert host_of(address) == network
