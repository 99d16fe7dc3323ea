import pytest

from swallowtail.cloud.links.limits import MAX_ADDRESSES, WrongCodes
from swallowtail.cloud.model.rates import Rate


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
