"""The hospital's policy: what the file may say, and what is allowed under it."""

import ipaddress
from pathlib import Path

import pytest

from swallowtail.link.policy import (
    DEFAULT,
    InvalidPolicyError,
    Policy,
    judge_listener,
    judge_target,
    limited,
    load,
    numeric,
    parse,
    summary,
)

FULL = b"""
[outbound]
new_targets_per_minute = 2
allow = [
  { network = "10.1.0.0/16", ports = [104, "11112-11120"] },
  { network = "192.0.2.7" },
]
[listen]
allow = [{ network = "10.1.2.3", ports = [104] }]
"""


def judge(policy: Policy, address: str, port: int = 104, **more) -> str | None:
    return judge_target(policy, address, port, **more)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "172.31.255.254", "192.168.1.1", "fd12:3456::1", "::ffff:10.0.0.1"]
)
def test_the_default_policy_allows_private_networks(address):
    assert judge(DEFAULT, address) is None


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.32.0.1",
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "169.254.1.1",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "fd00:ec2::254",
        "fe80::1%eth0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "2001:db8::1",
        "pacs.example",
        "",
        "0x7f.1",
    ],
)
def test_the_default_policy_allows_nothing_else(address):
    assert judge(DEFAULT, address) is not None


def test_a_file_allows_what_it_lists_and_no_more():
    policy = parse(FULL, "policy.toml")
    assert judge(policy, "10.1.200.1", 104) is None
    assert judge(policy, "10.1.200.1", 11115) is None
    assert judge(policy, "192.0.2.7", 6661) is None
    assert "10.1.200.1 port 105 is not allowed by policy.toml" in str(
        judge(policy, "10.1.200.1", 105)
    )
    assert "[outbound]" in str(judge(policy, "10.2.0.1", 104))
    assert judge(policy, "192.168.1.1", 104) is not None, "a file replaces the default"


def test_an_open_network_does_not_open_special_ranges_but_an_entry_inside_does():
    everything = parse(b'[outbound]\nallow = [{network="0.0.0.0/0"}, {network="::/0"}]', "p")
    assert judge(everything, "8.8.8.8") is None
    for address in (
        "127.0.0.1",
        "::1",
        "169.254.7.7",
        "fe80::7",
        "224.0.0.1",
        "169.254.169.254",
        "fd00:ec2::254",
    ):
        assert judge(everything, address) is not None, address
    loopback = parse(
        b'[outbound]\nallow = [{network="127.0.0.1", ports=[11112]}, {network="169.254.0.0/16"}]',
        "p",
    )
    assert judge(loopback, "127.0.0.1", 11112) is None
    assert judge(loopback, "::ffff:127.0.0.1", 11112) is None
    assert judge(loopback, "169.254.7.7") is None
    assert judge(loopback, "169.254.169.254") is not None, "metadata is never reached"


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_port_that_does_not_exist_is_refused(port):
    assert "does not exist" in str(judge(DEFAULT, "10.0.0.1", port))


def test_link_never_connects_to_itself():
    policy = parse(b'[outbound]\nallow = [{network="10.0.0.0/8"}, {network="127.0.0.0/8"}]', "p")
    own = [(ipaddress.ip_address("10.0.0.5"), 104), (ipaddress.ip_address("0.0.0.0"), 11112)]
    assert judge(policy, "10.0.0.5", 104, own=own) == "10.0.0.5 port 104 is Link itself"
    assert judge(policy, "127.0.0.1", 11112, own=own) is not None
    assert judge(policy, "10.0.0.5", 105, own=own) is None


def test_new_targets_are_limited_per_minute_and_old_ones_are_not():
    policy = parse(FULL, "p")
    first, second = (ipaddress.ip_address("10.1.0.1"), 104), (ipaddress.ip_address("10.1.0.2"), 104)
    recent = {first: 100.0, second: 130.0}
    reason, after = limited(policy, "10.1.0.3", 104, now=159.0, recent=recent)
    assert ("within a minute" in reason, after) == (True, 1.0)
    assert limited(policy, "10.1.0.1", 104, now=159.0, recent=recent) is None
    assert limited(policy, "10.1.0.3", 104, now=160.0, recent=recent) is None


def test_where_link_may_listen():
    policy = parse(FULL, "policy.toml")
    assert judge_listener(policy, "10.1.2.3", 104) is None
    assert "[listen]" in str(judge_listener(policy, "10.1.2.3", 105))
    assert judge_listener(policy, "0.0.0.0", 104) is not None, "all addresses are more than one"
    assert judge_listener(DEFAULT, "0.0.0.0", 104) is None
    assert judge_listener(DEFAULT, "pacs", 104) is not None
    anywhere = parse(b'[listen]\nallow = [{network="0.0.0.0/0", ports=[104]}]', "p")
    assert judge_listener(anywhere, "0.0.0.0", 104) is None
    assert judge_listener(anywhere, "::", 104) is not None
    assert judge_listener(parse(b"[listen]", "p"), "10.0.0.1", 104) is not None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[outbound", "policy file p:"),
        (b"[inbound]", "inbound"),
        (b'[outbound]\nallow = [{network="10.1.0.1/16"}]', "host bits set"),
        (b'[outbound]\nallow = [{network="pacs"}]', "'pacs' is no network"),
        (b'[outbound]\nallow = [{network="10.0.0.0/8", port=104}]', "port"),
        (
            b'[outbound]\nallow = [{network="10.0.0.0/8", ports=["a-b"]}]',
            "neither a port nor a range",
        ),
        (b'[outbound]\nallow = [{network="10.0.0.0/8", ports=["9-5"]}]', "not a range"),
        (b'[outbound]\nallow = [{network="10.0.0.0/8", ports=[0]}]', "`int` >= 1"),
        (b'[outbound]\nallow = [{network="10.0.0.0/8", ports=["0-5"]}]', "not a range"),
        (
            b'[outbound]\nallow = [{network="10.0.0.0/8", ports=["' + b"9" * 5_000 + b'"]}]',
            "neither a port nor a range",
        ),
        (
            b'[outbound]\nallow = [{network="10.0.0.0/8", ports=[0x' + b"f" * 5_000 + b"]}]",
            "`int` <= 65535",
        ),
        (b"[outbound]\nnew_targets_per_minute = " + b"9" * 5_000, "4300 digits"),
        (b'[outbound]\nallow = [{network="::ffff:10.0.0.0/104"}]', "write it as IPv4"),
        (b"[outbound]\nnew_targets_per_minute = 0", "new_targets_per_minute"),
        (b"\xff", "policy file p:"),
        (b"#" * 300_000, "longer than"),
    ],
)
def test_a_policy_that_cannot_be_read_names_the_place(text, says):
    with pytest.raises(InvalidPolicyError, match=says.replace("[", r"\[")):
        parse(text, "p")


def test_a_missing_file_is_an_error_and_no_file_is_the_default(tmp_path: Path):
    assert load(None) is DEFAULT
    with pytest.raises(InvalidPolicyError, match="cannot be read"):
        load(tmp_path / "policy.toml")
    (tmp_path / "policy.toml").write_bytes(FULL)
    assert load(tmp_path / "policy.toml").source == str(tmp_path / "policy.toml")


def test_the_summary_lists_what_is_allowed():
    assert summary(DEFAULT)[0].startswith("default policy")
    assert "may connect to 10.1.0.0/16 port 104, 11112-11120" in summary(parse(FULL, "p"))
    assert "may listen on 10.1.2.3/32 port 104" in summary(parse(FULL, "p"))
    assert {"may connect to nothing", "may listen on nothing"} <= set(
        summary(parse(b"[listen]", "p"))
    )


def test_a_mapped_address_is_ipv4_and_no_other_form_is():
    assert numeric("::ffff:192.0.2.1") == numeric("192.0.2.1")
    for address in (
        "::1",
        "64:ff9b::192.0.2.1",
        "::192.0.2.1",
        "2002:c000:201::1",
        "fd00::5efe:192.0.2.1",
    ):
        assert numeric(address) == ipaddress.ip_address(address)


def test_a_local_translator_is_allowed_by_its_own_prefix_and_opens_nothing_special():
    """64:ff9b:1:abcd::/96 has a second reading, 171.205.0.0, that the hospital does not use."""
    private = parse(b'[outbound]\nallow = [{network="10.0.0.0/8"}]', "p")
    assert "171.205.0.0 inside" in str(judge(private, "64:ff9b:1:abcd::10.0.0.5"))
    prefix = parse(b'[outbound]\nallow = [{network="64:ff9b:1:abcd::/96", ports=[104]}]', "p")
    assert judge(prefix, "64:ff9b:1:abcd::10.0.0.5") is None
    assert judge(prefix, "64:ff9b:1:abcd::10.0.0.5", 105) is not None
    assert judge(prefix, "64:ff9b:1:abce::10.0.0.5") is not None
    for special in ("127.0.0.1", "169.254.169.254", "169.254.1.1", "224.0.0.1"):
        assert judge(prefix, f"64:ff9b:1:abcd::{special}") is not None, special
    everything = parse(b'[outbound]\nallow = [{network="::/0"}]', "p")
    assert judge(everything, "64:ff9b:1:abcd::10.0.0.5") is not None, (
        "::/0 is no entry for a translator"
    )
    assert judge(everything, "2001:db8::1") is None


def test_link_is_not_reached_through_a_translator_either():
    policy = parse(b'[outbound]\nallow = [{network="10.0.0.0/8"}]', "p")
    own = [(ipaddress.ip_address("10.0.0.5"), 104)]
    assert "Link itself" in str(judge(policy, "64:ff9b::10.0.0.5", own=own))
    assert judge(policy, "64:ff9b::10.0.0.6", own=own) is None
