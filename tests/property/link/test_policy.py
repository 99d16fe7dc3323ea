"""Whatever the Cloud asks for, the hospital's policy is not talked round."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from swallowtail.link.policy import DEFAULT, Allowance, Policy, judge_target, limited

ipv4 = st.ip_addresses(v=4)
targets = st.tuples(ipv4, st.integers(1, 65_535))
clothes = st.sampled_from(["{a}", "::ffff:{a}", "64:ff9b::{a}"])
networks = st.builds(lambda a, bits: ipaddress.ip_network((a, bits), strict=False), ipv4, st.integers(0, 32))
entries = st.builds(
    Allowance, networks, st.lists(st.tuples(st.integers(1, 9), st.integers(5, 12)).map(sorted).map(tuple)).map(tuple)
)


@given(ipv4, clothes, st.integers(1, 65_535))
def test_the_default_lets_out_to_rfc_1918_alone_whatever_the_clothes(address, form, port):
    private = any(address in ipaddress.ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
    allowed = judge_target(DEFAULT, form.format(a=address), port) is None
    assert allowed == private


@given(st.lists(entries, max_size=4), ipv4, st.integers(1, 14))
def test_nothing_outside_the_list_is_allowed(listed, address, port):
    policy = Policy("p", tuple(listed))
    if judge_target(policy, str(address), port) is None:
        assert any(
            address in entry.network and (not entry.ports or any(low <= port <= high for low, high in entry.ports))
            for entry in listed
        )
        assert not address.is_multicast or any(entry.network.is_multicast for entry in listed)


@given(st.lists(st.tuples(targets, st.floats(0, 300)), max_size=60), st.integers(1, 5))
def test_never_more_new_targets_in_a_minute_than_the_policy_says(wishes, limit):
    policy = Policy("p", (Allowance(ipaddress.ip_network("0.0.0.0/0")),), None, limit)
    recent: dict = {}
    for (address, port), now in sorted(wishes, key=lambda wish: wish[1]):
        if (waits := limited(policy, str(address), port, now=now, recent=recent)) is None:
            recent.setdefault((address, port), now)
        else:
            assert 0 < waits[1] <= 60
            assert limited(policy, str(address), port, now=now + waits[1] + 1e-6, recent=recent) is None
    times = sorted(recent.values())
    assert all(later - first >= 60 for first, later in zip(times, times[limit:], strict=False))


@given(st.text(max_size=40), st.integers())
def test_any_text_gets_a_verdict(address, port):
    verdict = judge_target(DEFAULT, address, port)
    assert verdict is None or isinstance(verdict, str)
