"""The hospital's policy file: it is refused, or it judges every address."""

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
# tomllib takes quadratic time for thousands of dots in a key; the hospital, whose file it is,
# writes none
MAX_LENGTH = 4608


def check(data: bytes) -> None:
    """Parse, judge."""
    try:
        policy = parse(data[:MAX_LENGTH], "heron.toml")
    except InvalidPolicyError:
        return
    assert isinstance(policy, Policy)
    for address in ADDRESSES:
        for port in (0, 104, 65_536):
            judge_listener(policy, address, port)
            verdict = judge_target(policy, address, port)
            assert verdict is None or verdict
            assert verdict is not None or "169.254" not in address, (
                "metadata services are never reached"
            )
