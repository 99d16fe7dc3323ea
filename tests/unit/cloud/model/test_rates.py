import pytest

from swallowtail.cloud.model.rates import host_of


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
