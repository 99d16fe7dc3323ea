"""Whatever the Cloud asks for, the hospital's policy is not talked round."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from swallowtail.link.ipv4_in_ipv6 import FORMS, endpoints
from swallowtail.link.policy import DEFAULT, Allowance, Policy, judge_target, limited

Embedding = Callable[[ipaddress.IPv4Address, ipaddress.IPv6Address], ipaddress.IPv6Address]
ipv4 = st.ip_addresses(v=4)
targets = st.tuples(ipv4, st.integers(1, 65_535))
ipv6 = st.ip_addresses(v=6)
FORBIDDEN = (
    "127.0.0.0/8",
    "169.254.0.0/16",
    "0.0.0.0/8",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "100.100.100.200/32",
    "168.63.129.16/32",
)
forbidden = st.sampled_from(FORBIDDEN).flatmap(lambda text: st.ip_addresses(network=text))
OPEN = Policy("p", tuple(Allowance(ipaddress.ip_network(one)) for one in ("0.0.0.0/0", "::/0")))
"""Every form's own range is listed too: even that opens nothing special."""
OPEN = replace(OPEN, outbound=(*OPEN.outbound, *(Allowance(form.network) for form in FORMS)))


def built(prefix: str, at: Sequence[int], *, inverted: bool = False) -> Embedding:
    """A form.

    An address whose octets `at` are those of the IPv4 address, and the others anything outside the
    prefix.
    """
    network = ipaddress.IPv6Network(prefix)

    def embed(address: ipaddress.IPv4Address, rest: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
        octets = bytearray(
            (int(network.network_address) | int(rest) & int(network.hostmask)).to_bytes(16)
        )
        for position, octet in zip(at, address.packed, strict=True):
            octets[position] = octet ^ (0xFF if inverted else 0)
        return ipaddress.IPv6Address(bytes(octets))

    return embed


LAST = (12, 13, 14, 15)
EMBEDDINGS: dict[str, Embedding] = {
    "mapped": built("::ffff:0:0/96", LAST),
    "translated": built("::ffff:0:0:0/96", LAST),
    "compatible": built("::/96", LAST),
    "nat64": built("64:ff9b::/96", LAST),
    "nat64-local-48": built("64:ff9b:1::/48", (6, 7, 9, 10)),
    "nat64-local-56": built("64:ff9b:1::/48", (7, 9, 10, 11)),
    "nat64-local-64": built("64:ff9b:1::/48", (9, 10, 11, 12)),
    "nat64-local-96": built("64:ff9b:1::/48", LAST),
    "6to4": built("2002::/16", (2, 3, 4, 5)),
    "teredo-server": built("2001::/32", (4, 5, 6, 7)),
    "teredo-client": built("2001::/32", LAST, inverted=True),
    "isatap-private": built("fd00:1:2:3:0:5efe::/96", LAST),
    "isatap-global": built("2001:db8:1:2:200:5efe::/96", LAST),
    "isatap-6to4": built("2002:a00:1::5efe:0:0/96", LAST),
}
networks = st.builds(
    lambda a, bits: ipaddress.ip_network((a, bits), strict=False), ipv4, st.integers(0, 32)
)
entries = st.builds(
    Allowance,
    networks,
    st.lists(st.tuples(st.integers(1, 9), st.integers(5, 12)).map(sorted).map(tuple)).map(tuple),
)


def is_private(address: ipaddress.IPv4Address) -> bool:
    return any(
        address in ipaddress.ip_network(n)
        for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    )


@given(
    ipv4,
    st.sampled_from(["{a}", "::ffff:{a}", "::ffff:0:{a}", "64:ff9b::{a}"]),
    st.integers(1, 65_535),
)
def test_the_default_allows_rfc_1918_alone_in_whatever_form(address, form, port):
    allowed = judge_target(DEFAULT, form.format(a=address), port) is None
    assert allowed == is_private(address)


@pytest.mark.parametrize("form", EMBEDDINGS)
@given(address=forbidden, rest=ipv6, port=st.integers(1, 65_535))
def test_no_form_reaches_what_is_never_reached(form, address, rest, port):
    """Whatever the other octets are: also those that a translator ignores."""
    assume(not form.startswith("nat64-local") or int(address) >> 24)  # 0.x there: another length
    target = EMBEDDINGS[form](address, rest)
    assert judge_target(OPEN, str(target), port) is not None
    assert judge_target(DEFAULT, str(target), port) is not None


@pytest.mark.parametrize("form", EMBEDDINGS)
@given(address=ipv4.filter(lambda one: not is_private(one)), rest=ipv6, port=st.integers(1, 65_535))
def test_the_default_allows_no_form_of_a_public_address(form, address, rest, port):
    assume(int(address) >> 24)
    assert judge_target(DEFAULT, str(EMBEDDINGS[form](address, rest)), port) is not None


@given(ipv6)
def test_an_address_ends_somewhere(address):
    ends = endpoints(address)
    assert ends
    assert address in ends or all(end.version == 4 for end in ends)


@given(st.lists(entries, max_size=4), ipv4, st.integers(1, 14))
def test_nothing_outside_the_list_is_allowed(listed, address, port):
    policy = Policy("p", tuple(listed))
    if judge_target(policy, str(address), port) is None:
        assert any(
            address in entry.network
            and (not entry.ports or any(low <= port <= high for low, high in entry.ports))
            for entry in listed
        )
        assert not address.is_multicast or any(entry.network.is_multicast for entry in listed)


@given(st.lists(st.tuples(targets, st.floats(0, 300)), max_size=60), st.integers(1, 5))
def test_never_more_new_targets_in_a_minute_than_the_policy_allows(wishes, limit):
    policy = Policy("p", (Allowance(ipaddress.ip_network("0.0.0.0/0")),), None, limit)
    recent: dict = {}
    for (address, port), now in sorted(wishes, key=lambda desired: desired[1]):
        if (waits := limited(policy, str(address), port, now=now, recent=recent)) is None:
            recent.setdefault((address, port), now)
        else:
            assert 0 < waits[1] <= 60 + 1e-9
            assert (
                limited(policy, str(address), port, now=now + waits[1] + 1e-6, recent=recent)
                is None
            )
    times = sorted(recent.values())
    assert all(later - first >= 60 for first, later in zip(times, times[limit:], strict=False))


texts = st.one_of(st.text(max_size=40), ipv4.map(str), ipv6.map(str))


@given(texts, st.one_of(st.integers(), st.integers(1, 65_535)))
def test_text_is_allowed_when_it_is_a_private_address_and_the_port_exists(text, port):
    reason = judge_target(DEFAULT, text, port)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        assert reason is not None
        assert "is not an IP address" in reason
        return
    if not 1 <= port <= 65_535:
        assert reason == f"port {port} does not exist"
    elif isinstance(address, ipaddress.IPv4Address):
        assert (reason is None) == is_private(address)
    else:
        assert reason is not None or all(end.is_private for end in endpoints(address))
