"""Hello from each side: the proof, the version, and who may say what when."""

import hashlib

import msgspec
import pytest

from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.wire import handshake
from swallowtail.wire.control import Challenge, Hello, Refuse, RefuseReason, Welcome
from swallowtail.wire.handshake import (
    HelloAccepted,
    HelloReceived,
    HelloState,
    Refused,
    proof_message,
)
from swallowtail.wire.reasons import WireError
from tests.unit.wire.pair import KEY, cloud_hello, link_hello

CHALLENGE = Challenge(versions=(1, 1), nonce=b"n" * 32)
WELCOME = Welcome(
    version=1, session=b"s" * 16, epoch=3, capabilities=("two",), budget=5, channels=6, time=0.0
)


def hello(**changes) -> Hello:
    link = link_hello(**changes)
    link.start(0.0)
    assert link.receive(CHALLENGE, 0.0) is None
    (answer,) = link.outbox
    return answer


def waiting_cloud():
    cloud = cloud_hello()
    cloud.start(0.0)
    assert cloud.outbox.popleft().nonce == b"n" * 32
    return cloud


def accept(cloud):
    return cloud.welcome(session=b"s" * 16, epoch=3, time=0.0, echo_after=20.0, dead_after=45.0)


def test_the_proof_binds_nonce_code_and_key():
    assert (
        proof_message(b"N", "CODE", b"K")
        == b"swallowtail link 1\0N" + hashlib.sha256(b"CODE").digest() + b"K"
    )


def test_the_cloud_tells_whether_the_proof_holds():
    assert waiting_cloud().receive(hello(), 0.0).proved
    for changes in ({"sign": lambda _: b"x" * 64}, {"key": b"j" * 32}):
        cloud = waiting_cloud()
        event = cloud.receive(hello(**changes), 0.0)
        assert isinstance(event, HelloReceived)
        assert not event.proved
        with pytest.raises(LocalProtocolError, match="without a valid proof"):
            accept(cloud)
        assert cloud.refuse(RefuseReason.KEY, "", retry_after=30.0).refuse.reason == "key"


def test_a_recorded_hello_does_not_pass_with_another_nonce():
    cloud = cloud_hello(
        nonce=b"m" * 32,
        verify=lambda key, proof, message: (
            (key, message) == (KEY, proof_message(b"n" * 32, "CODE", KEY))
        ),
    )
    cloud.start(0.0)
    assert not cloud.receive(hello(), 0.0).proved


def test_a_version_that_is_not_ours_is_refused_with_the_range():
    cloud = waiting_cloud()
    answer = hello()
    other = Hello(
        **{name: getattr(answer, name) for name in answer.__struct_fields__} | {"version": 9}
    )
    event = cloud.receive(other, 0.0)
    assert isinstance(event, Refused)
    assert (event.refuse.reason, event.refuse.detail, event.refuse.retry_after) == (
        "version",
        "the Cloud supports versions 1 to 1",
        60.0,
    )
    with pytest.raises(LocalProtocolError):
        accept(cloud)


@pytest.mark.parametrize(
    ("offered", "version"), [((1, 1), 1), ((1, 9), 3), ((2, 2), 2), ((3, 9), 3), ((4, 9), 3)]
)
def test_the_link_chooses_the_highest_version_in_common(monkeypatch, offered, version):
    monkeypatch.setattr(handshake, "HIGHEST_VERSION", 3)
    link = link_hello()
    link.receive(Challenge(versions=offered, nonce=b"n" * 32), 0.0)
    assert link.outbox.pop().version == version
    welcome = msgspec.structs.replace(WELCOME, version=version)
    assert link.receive(welcome, 0.0) == HelloAccepted(welcome, 6, 5, ("two",))


def test_a_link_without_a_required_capability_is_refused_with_its_name():
    cloud = cloud_hello(required=("one", "four", "five"))
    cloud.start(0.0)
    event = cloud.receive(hello(), 0.0)
    assert isinstance(event, Refused)
    assert (event.refuse.reason, event.refuse.detail) == ("capability", "four")
    with pytest.raises(LocalProtocolError):
        accept(cloud)


def test_each_side_learns_what_the_other_can():
    cloud = waiting_cloud()
    cloud.receive(hello(), 0.0)
    hello_accepted = accept(cloud)
    assert hello_accepted.welcome.capabilities == ("two", "three")
    assert hello_accepted.peer_capabilities == ("one", "two")
    assert (hello_accepted.peer_channels, hello_accepted.peer_budget) == (256, 4 << 20)
    link = link_hello()
    link.receive(CHALLENGE, 0.0)
    assert link.receive(WELCOME, 0.0) == HelloAccepted(WELCOME, 6, 5, ("two",))
    assert link.state is cloud.state is HelloState.ACCEPTED
    assert link.deadline() is cloud.deadline() is None


def test_a_link_can_be_refused_before_and_after_its_hello():
    refuse = Refuse(reason="busy", retry_after=3.0)
    for messages in ([], [CHALLENGE]):
        link = link_hello()
        for message in messages:
            link.receive(message, 0.0)
        assert link.receive(refuse, 0.0) == Refused(refuse)


@pytest.mark.parametrize(
    "messages", [[WELCOME], [CHALLENGE, CHALLENGE], [CHALLENGE, WELCOME, WELCOME], [hello()]]
)
def test_a_cloud_that_says_the_wrong_thing(messages):
    link = link_hello()
    for message in messages[:-1]:
        link.receive(message, 0.0)
    with pytest.raises(WireError, match="wire §3"):
        link.receive(messages[-1], 0.0)


def test_a_welcome_to_another_version_is_refused():
    link = link_hello()
    link.receive(CHALLENGE, 0.0)
    with pytest.raises(WireError, match="not offered"):
        link.receive(
            Welcome(
                version=2,
                session=b"s" * 16,
                epoch=3,
                capabilities=(),
                budget=5,
                channels=6,
                time=0.0,
            ),
            0.0,
        )


def test_a_link_that_says_hello_twice():
    cloud = waiting_cloud()
    cloud.receive(hello(), 0.0)
    with pytest.raises(WireError):
        cloud.receive(hello(), 0.0)


def test_the_security_code_is_not_in_what_is_printed():
    assert "CODE" not in repr(link_hello())
    assert "CODE" not in repr(hello())
