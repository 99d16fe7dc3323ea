"""The hospital's policy file: it is refused, or it decides on every address."""

from swallowtail.link.policy import InvalidPolicyError, Policy, judge_listener, judge_target, parse

ADDRESSES = (
    "10.1.2.3",
    "127.0.0.1",
    "::1",
    "::ffff:169.254.169.254",
    "fe80::1%eth0",
    "64:ff9b::a00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "fd00::5efe:169.254.169.254",
    "0.0.0.0",
    "heron.example",
    "",
)
NO_ADDRESSES = {"heron.example", ""}
# tomllib takes quadratic time for thousands of dots in a key; the hospital, whose file it is,
# writes none
MAX_LENGTH = 4608


def check(data: bytes) -> None:
    """Read a policy and apply it to every address."""
    try:
        policy = parse(data[:MAX_LENGTH], "heron.toml")
    except InvalidPolicyError:
        return
    assert isinstance(policy, Policy)
    for address in ADDRESSES:
        for port in (0, 104, 65_536):
            listening = judge_listener(policy, address, port)
            assert listening is not None or address not in NO_ADDRESSES
            assert listening is not None or policy.listen is None or policy.listen
            if judge_target(policy, address, port) is None:
                assert port == 104, "the other ports do not exist"
                assert policy.outbound, "nothing is allowed"
                assert address not in NO_ADDRESSES
                assert address != "0.0.0.0", "it is not the address of one machine"
                assert "169.254" not in address, "metadata services are never reached"
