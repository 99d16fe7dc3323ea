"""Whose address a request comes from, with every way to pretend."""

import pytest

from swallowtail.cloud.web.proxies import MAX_HOPS, client_of, parse_proxies

TRUSTED = parse_proxies(["10.0.0.0/24", "fd00::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.5", [], "10.0.0.5"),
        ("10.0.0.5", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.5", ["203.0.113.1", " 198.51.100.1 "], "198.51.100.1"),
        ("10.0.0.5", ["203.0.113.1", "198.51.100.1", "10.0.0.6"], "198.51.100.1"),
        ("10.0.0.5", ["10.0.0.7", "10.0.0.6"], "10.0.0.7"),
        ("10.0.0.5", ["198.51.100.1", "unknown"], "10.0.0.5"),
        ("10.0.0.5", ["198.51.100.1", ""], "10.0.0.5"),
        ("10.0.0.5", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.5", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.5", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.5", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], ""),
        ("10.0.0.5", ["198.51.100.1"] + ["10.0.0.6"] * MAX_HOPS, "10.0.0.6"),
    ],
)
def test_the_last_address_that_is_not_a_trusted_proxys_is_the_clients(
    peer: str,
    forwarded: list[str],
    client: str,
) -> None:
    assert client_of(peer, forwarded, TRUSTED) == client


def test_nobody_is_trusted_unless_named() -> None:
    assert client_of("10.0.0.5", ["198.51.100.1"], ()) == "10.0.0.5"
