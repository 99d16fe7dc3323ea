"""The session machine.

What arrives, what leaves and in which order, deadlines, limits, and the end.
"""

import pytest

from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import CLOSED, NEED_DATA
from swallowtail.wire import frames
from swallowtail.wire.channel import Data, End, Message, WasReset
from swallowtail.wire.control import (
    Budget,
    Echo,
    Echoed,
    Goodbye,
    GoodbyeReason,
    RefuseReason,
    Welcome,
    control_frame,
    read_control,
)
from swallowtail.wire.events import (
    GoodbyeReceived,
    Opened,
    Readable,
    RoundTrip,
    SessionClose,
    Writable,
)
from swallowtail.wire.frames import ChannelPriority, FrameType, Opening
from swallowtail.wire.handshake import HelloAccepted, HelloReceived, Refused
from swallowtail.wire.reasons import CloseCode, ResetReason, WireError
from swallowtail.wire.session import SessionMachine
from tests.unit.wire.pair import Pair, cloud_hello, drain, link_hello, welcome


def opening(number: int, *, credit: int = 0, fin: bool = False) -> bytes:
    return frames.opening_frame(
        number, Opening(call="c", priority=ChannelPriority.BULK, credit=credit), fin=fin
    )


def violation(machine: SessionMachine, *messages: bytes, now: float = 0.0) -> WireError:
    """Hand in messages of which the last is not allowed; give the error."""
    for message in messages[:-1]:
        machine.receive_data(message, now)
        drain(machine)
    machine.receive_data(messages[-1], now)
    with pytest.raises(WireError) as caught:
        drain(machine)
    assert machine.next_event() is CLOSED
    assert machine.closing == SessionClose(caught.value.code, str(caught.value))
    assert machine.data_to_send() == b""
    return caught.value


def sent(machine: SessionMachine) -> list[tuple[FrameType, int, int, bytes]]:
    """Take every frame that waits: type, flags, channel, payload."""
    out = []
    while frame := machine.data_to_send():
        kind, flags, _, number = frames.HEADER.unpack_from(frame)
        out.append((FrameType(kind), flags, number, bytes(frame[8:])))
    return out


def controls(machine: SessionMachine) -> list:
    return [
        read_control(memoryview(payload))
        for kind, _, _, payload in sent(machine)
        if kind is FrameType.CONTROL
    ]


def test_hello_gives_both_sides_what_they_need():
    pair = Pair(stand=False)
    pair.run()
    (received,) = pair.events["cloud"]
    assert isinstance(received, HelloReceived)
    assert (received.proved, received.hello.code) == (True, "CODE")
    welcome(pair.cloud)
    pair.run()
    (hello_accepted,) = pair.events["link"]
    assert isinstance(hello_accepted, HelloAccepted)
    assert (
        hello_accepted.welcome.epoch,
        hello_accepted.welcome.capabilities,
        hello_accepted.peer_channels,
    ) == (
        7,
        ("two", "three"),
        256,
    )
    assert pair.link.ready
    assert pair.cloud.ready
    assert pair.link.peer_capabilities == {"two", "three"}
    assert pair.cloud.peer_capabilities == {"one", "two"}


def test_a_refusal_is_heard_and_closes_with_4401():
    pair = Pair(stand=False)
    pair.run()
    pair.cloud.refuse(RefuseReason.BUSY, "later", retry_after=9.0)
    assert pair.cloud.closing == SessionClose(CloseCode.REFUSED, "busy: later")
    pair.run()
    (refused,) = pair.events["link"]
    assert isinstance(refused, Refused)
    assert refused.refuse.retry_after == 9.0
    assert pair.link.closing == SessionClose(CloseCode.REFUSED, "busy: later", by_peer=True)
    assert pair.link.next_event() is CLOSED


def test_before_welcome_nothing_else_is_allowed():
    assert "before welcome" in str(violation(SessionMachine(cloud_hello(), now=0.0), opening(1)))
    assert "before welcome" in str(
        violation(SessionMachine(link_hello(), now=0.0), control_frame(Echo(id=1)))
    )
    with pytest.raises(LocalProtocolError):
        SessionMachine(link_hello(), now=0.0).open("c", b"", ChannelPriority.BULK, now=0.0)
    with pytest.raises(LocalProtocolError):
        welcome(Pair(stand=False).link)


def test_a_hello_that_takes_too_long_closes_with_4408():
    machine = SessionMachine(cloud_hello(), now=100.0)
    assert machine.next_timeout() == 110.0
    machine.handle_timeout(109.9)
    assert machine.closing is None
    machine.handle_timeout(110.0)
    with pytest.raises(WireError, match="expect hello"):
        machine.next_event()
    assert machine.closing.code == CloseCode.DEADLINE
    assert machine.next_timeout() is None


def test_the_whole_hello_has_twenty_seconds_however_busy_its_steps():
    pair = Pair(stand=False)
    pair.now = 9.0
    pair.run()
    assert pair.cloud.next_timeout() == 19.0
    pair.now = 15.0
    assert pair.link.next_timeout() == 19.0


def test_frames_that_are_none_and_frames_that_are_unknown():
    pair = Pair()
    pair.cloud.receive_data(b"\x07" + bytes(7), 0.0)
    pair.cloud.receive_data(b"\xff" * 20, 0.0)
    assert pair.cloud.next_event() is NEED_DATA
    assert violation(pair.cloud, b"\x00" * 7).code == CloseCode.VIOLATION
    assert violation(pair.link, bytes(65_537)).code == CloseCode.TOO_LONG


@pytest.mark.parametrize(
    "message",
    [
        frames.frame(FrameType.CONTROL, 1, b"\x80"),
        frames.frame(FrameType.CONTROL, 0, b"\xc1"),
        frames.frame(FrameType.DATA, 0, b"x"),
        frames.frame(FrameType.DATA, 1, b"x"),
        frames.frame(FrameType.MESSAGE, 2, b"x"),
        frames.frame(FrameType.CREDIT, 99, bytes(16)),
        frames.frame(FrameType.RESET, 3, bytes(2)),
        opening(2),
        opening(0),
        frames.frame(FrameType.OPEN, 1, b"junk"),
        control_frame(Echoed(id=5)),
        control_frame(
            Welcome(
                version=1,
                session=bytes(16),
                epoch=1,
                capabilities=(),
                budget=1,
                channels=1,
                time=0.0,
            )
        ),
    ],
)
def test_what_is_not_allowed_on_a_young_session(message):
    assert violation(Pair().cloud, message).code == CloseCode.VIOLATION


@pytest.mark.parametrize(
    "messages",
    [
        (opening(1), opening(1)),
        (opening(3), opening(1)),
        (opening(1), frames.frame(FrameType.DATA, 1)),
        (opening(1), frames.frame(FrameType.MESSAGE, 1)),
        (opening(1, fin=True), frames.frame(FrameType.MESSAGE, 1, b"x")),
        (opening(1, fin=True), frames.frame(FrameType.DATA, 1, fin=True)),
        (opening(1), frames.frame(FrameType.CREDIT, 1, bytes(15))),
        (opening(1), frames.frame(FrameType.RESET, 1, b"\0")),
        (opening(1), frames.frame(FrameType.RESET, 1, bytes(259))),
    ],
)
def test_what_is_not_allowed_on_a_channel(messages):
    assert violation(Pair().cloud, *messages).code == CloseCode.VIOLATION


def test_limits_close_with_4429():
    mib = 1 << 20
    data = [frames.frame(FrameType.DATA, 1, bytes(size)) for size in (65_000, 1_001, 70_000)]
    assert violation(Pair().cloud, opening(1, credit=66_000), *data[:2]).code == CloseCode.LIMIT
    assert violation(Pair().cloud, opening(1, credit=66_000), data[2]).code == CloseCode.TOO_LONG
    assert (
        violation(
            Pair().cloud, opening(1, credit=mib), opening(3, credit=mib), opening(5, credit=1)
        ).code
        == CloseCode.LIMIT
    )
    assert (
        violation(Pair(cloud=cloud_hello(channels=1)).cloud, opening(1), opening(3)).code
        == CloseCode.LIMIT
    )
    assert (
        violation(Pair().cloud, *[control_frame(Echo(id=number)) for number in range(9)]).code
        == CloseCode.LIMIT
    )


def test_a_small_transfer_needs_no_round_trip():
    pair = Pair()
    ours = pair.link.open("store", b"request", ChannelPriority.BULK, now=0.0)
    assert ours.write(memoryview(bytes(500_000))) == 500_000
    assert ours.message(b"end", fin=True)
    pair.run()
    opened = next(event for event in pair.events["cloud"] if isinstance(event, Opened))
    theirs, got = opened.channel, 0
    while isinstance(event := theirs.next_event(0.0), Data):
        got += len(event.view)
        theirs.consumed(len(event.view), 0.0)
    assert (got, event, theirs.next_event(0.0), theirs.next_event(0.0)) == (
        500_000,
        Message(b"end"),
        End(),
        CLOSED,
    )
    assert not sent(pair.cloud)  # FIN needs no CREDIT


def test_control_frames_overtake_eight_bulk_channels_within_one_frame():
    pair = Pair()
    channels = [pair.open()[0] for _ in range(8)]
    interactive, _ = pair.open(priority=ChannelPriority.INTERACTIVE)
    for channel in channels:
        assert channel.write(memoryview(bytes(64 * 1024)))
        channel.flush()
    first = pair.link.data_to_send()
    assert first[0] == FrameType.DATA
    pair.link.receive_data(control_frame(Echo(id=9)), 0.0)
    interactive.message(b"urgent")
    channels[3].reset(ResetReason.CANCELLED)
    kinds = [(kind, number) for kind, _, number, _ in sent(pair.link)]
    assert kinds[:3] == [
        (FrameType.CONTROL, 0),
        (FrameType.RESET, channels[3].number),
        (FrameType.MESSAGE, interactive.number),
    ]
    assert {number for _, number in kinds[3:]} == {channel.number for channel in channels} - {
        channels[3].number
    }


def test_an_echo_is_answered_before_everything_else_and_measures():
    pair = Pair()
    pair.open()
    number = pair.link.echo(5.0)
    pair.link.open("c", b"", ChannelPriority.BULK, now=5.0)
    assert read_control(memoryview(pair.link.data_to_send())[8:]) == Echo(id=number)
    pair.cloud.receive_data(control_frame(Echo(id=number)), 5.1)
    pair.now = 5.25
    pair.run()
    assert pair.events["link"] == [RoundTrip(number, 0.25)]
    fresh = Pair().link
    for _ in range(8):
        fresh.echo(0.0)
    with pytest.raises(LocalProtocolError):
        fresh.echo(0.0)


def test_silence_is_probed_after_20_s_and_ends_after_45_s():
    pair = Pair()
    assert pair.link.next_timeout() == 20.0
    pair.link.handle_timeout(20.0)
    pair.link.handle_timeout(21.0)
    assert controls(pair.link) == [Echo(id=1)]
    assert pair.link.next_timeout() == 45.0
    pair.link.receive_data(control_frame(Echoed(id=1)), 22.0)
    drain(pair.link)
    assert pair.link.next_timeout() == 42.0
    ours, _ = pair.open()
    pair.link.handle_timeout(70.0)
    assert Readable(ours) in [pair.link.next_event() for _ in range(2)]
    with pytest.raises(WireError, match="45 s"):
        pair.link.next_event()
    assert pair.link.closing.code == CloseCode.DEADLINE
    assert ours.next_event(70.0).reason is ResetReason.SESSION_LOST
    assert ours.next_event(70.0) is CLOSED


def test_the_cloud_may_shorten_the_deadlines():
    pair = Pair(stand=False)
    pair.run()
    welcome(pair.cloud, echo_after=10.0, dead_after=25.0)
    pair.run()
    assert pair.link.next_timeout() == pair.cloud.next_timeout() == 10.0
    pair.link.handle_timeout(25.0)
    assert pair.link.closing.code == CloseCode.DEADLINE


def test_a_channel_of_which_one_side_never_heard_enough_credit_is_granted_some_at_once():
    cloud = Pair().cloud
    cloud.receive_data(opening(1, credit=1 << 20), 0.0)
    cloud.receive_data(opening(3), 0.0)
    cloud.receive_data(opening(5, fin=True), 0.0)
    assert [(kind, number) for kind, _, number, _ in sent(cloud)] == [(FrameType.CREDIT, 3)]


def test_frames_that_crossed_the_end_of_a_channel_are_dropped():
    pair = Pair()
    ours, theirs = pair.open()
    ours.write(memoryview(bytes(200_000)))
    ours.flush()
    theirs.reset(ResetReason.UNAVAILABLE, "disk full")
    pair.run()
    assert ours.failure == WasReset(ResetReason.UNAVAILABLE, "disk full")
    assert ours.next_event(0.0) == ours.failure
    assert pair.cloud.closing is None
    assert not pair.link._channels
    assert not pair.cloud._channels
    for kind in (FrameType.DATA, FrameType.CREDIT, FrameType.RESET):
        pair.cloud.receive_data(frames.frame(kind, ours.number, bytes(16)), 0.0)
    assert pair.cloud.next_event() is NEED_DATA
    with pytest.raises(LocalProtocolError):
        ours.write(memoryview(b"x"))


def test_a_place_is_free_when_the_last_frame_has_left():
    pair = Pair(cloud=cloud_hello(channels=1))
    ours, theirs = pair.open(fin=True)
    assert not pair.link.can_open
    with pytest.raises(LocalProtocolError, match="1 channels"):
        pair.link.open("c", b"", ChannelPriority.BULK, now=0.0)
    theirs.finish()
    assert len(pair.cloud._channels) == 1  # the FIN has not left yet
    pair.run()
    assert pair.link.can_open
    assert isinstance(ours.next_event(0.0), End)
    pair.link.open("c", b"", ChannelPriority.BULK, now=0.0).reset(ResetReason.CANCELLED)
    assert not pair.link.can_open
    pair.run()
    assert pair.link.can_open
    assert pair.cloud.closing is None


def test_a_goodbye_that_is_not_draining_ends_at_once():
    pair = Pair()
    ours, theirs = pair.open()
    pair.cloud.goodbye(GoodbyeReason.REPLACED, 0.0)
    assert pair.cloud.closing == SessionClose(CloseCode.REPLACED, "replaced")
    assert controls(pair.cloud) == [Goodbye(reason="replaced")]
    assert theirs.next_event(0.0) == WasReset(ResetReason.SESSION_LOST, "replaced")
    pair.cloud.goodbye(GoodbyeReason.DRAINING, 0.0)  # too late to say more
    assert pair.cloud.data_to_send() == b""
    pair.link.receive_data(control_frame(Goodbye(reason="replaced")), 0.0)
    pair.link.receive_data(control_frame(Goodbye(reason="replaced")), 0.0)
    assert [event for event in drain(pair.link) if isinstance(event, GoodbyeReceived)] == [
        GoodbyeReceived(Goodbye(reason="replaced"))
    ]
    pair.link.receive_eof(0.0, 4409, "replaced")
    assert pair.link.closing == SessionClose(4409, "replaced", by_peer=True)
    assert ours.failure.reason is ResetReason.SESSION_LOST


def test_draining_waits_ten_seconds_for_channels_and_takes_no_new_ones():
    pair = Pair()
    pair.open()
    pair.cloud.goodbye(GoodbyeReason.DRAINING, 0.0)
    late = pair.link.open("late", b"", ChannelPriority.BULK, now=0.0)
    pair.run()
    assert late.failure.reason is ResetReason.UNAVAILABLE
    with pytest.raises(LocalProtocolError):
        pair.link.open("later", b"", ChannelPriority.BULK, now=0.0)
    assert pair.cloud.next_timeout() == 10.0
    pair.cloud.handle_timeout(10.0)
    assert pair.cloud.closing == SessionClose(CloseCode.DONE, "draining")


def test_a_budget_that_grows_is_announced_and_one_that_shrank_is_forgiven():
    pair = Pair()
    cloud, now = pair.cloud, 0.0
    cloud.receive_data(opening(1, credit=1 << 20), now)
    sent(cloud)
    for _ in range(4):  # 20 kB/s: the least budget
        cloud.receive_data(frames.frame(FrameType.DATA, 1, bytes(20_000)), now := now + 1.0)
    (budget,) = controls(cloud)
    assert budget == Budget(bytes=262_144)
    cloud.receive_data(opening(3, credit=1 << 20), now)  # it crossed the announcement
    assert cloud.closing is None
    pair.link.receive_data(control_frame(budget), now)
    assert pair.link.open("c", b"", ChannelPriority.BULK, now=now).sending.limit <= 131_072


def test_what_waits_for_one_owner_is_told_once():
    pair = Pair()
    ours, theirs = pair.open()
    for _ in range(3):
        ours.write(memoryview(b"x"))
        ours.flush()
        pair.run()
    assert pair.events["cloud"] == [Readable(theirs)] * 3  # the pair pulls after each frame
    for _ in range(3):
        pair.cloud.receive_data(frames.frame(FrameType.DATA, ours.number, b"x"), 0.0)
    assert drain(pair.cloud) == [Readable(theirs)]
    pair.link.receive_data(frames.credit_frame(ours.number, frames.Credit(0, 1_000_000)), 0.0)
    pair.link.receive_data(frames.credit_frame(ours.number, frames.Credit(0, 1_000_001)), 0.0)
    assert drain(pair.link) == [Writable(ours)]


def test_floods_of_openings_and_resets_leave_nothing_behind():
    cloud = Pair().cloud
    for number in range(1, 20_001, 2):
        cloud.receive_data(opening(number, credit=1 << 20), 0.0)
        cloud.receive_data(frames.reset_frame(number, ResetReason.CANCELLED, ""), 0.0)
    assert cloud.closing is None
    assert cloud.next_event() is NEED_DATA
    assert not cloud._channels
    assert not cloud._opening


def test_messages_and_bodies_too_large_for_a_frame_are_our_own_mistake():
    pair = Pair()
    ours, _ = pair.open()
    for body in (b"", bytes(65_529)):
        with pytest.raises(LocalProtocolError):
            ours.message(body)
    with pytest.raises(LocalProtocolError):
        pair.link.open("c", bytes(65_500), ChannelPriority.BULK, now=0.0)
