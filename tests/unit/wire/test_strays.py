"""Frames that belong to nothing.

What an honest peer has on its way is borne, a flood is closed, on either side (wire §2).
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swallowtail.wire import frames
from swallowtail.wire.control import Budget, control_frame
from swallowtail.wire.events import SessionClose
from swallowtail.wire.frames import ChannelPriority, FrameType, Opening
from swallowtail.wire.reasons import CloseCode, ResetReason, WireError
from swallowtail.wire.session import SessionMachine
from swallowtail.wire.strays import CROSSING_FRAMES, MAX_CROSSING, UNCOVERED, Strays
from swallowtail.wire.window import NodeBudget
from tests.modes import amount
from tests.unit.wire.pair import Pair, drain

UNKNOWN_KIND = frames.frame(FrameType.CONTROL, 0, b"\x81\xa4kind\xa6future")
UNKNOWN_TYPE = b"\x07" + bytes(7)


def flood(
    machine: SessionMachine, message: bytes, most: int, *, now: float = 0.0, gap: float = 0.0
) -> int:
    """Hand in the same message until the session ends; give how many were borne."""
    for borne in range(most):
        machine.receive_data(message, now + borne * gap)
        if machine.closing is not None:
            with pytest.raises(WireError, match="wire §2"):
                drain(machine)
            assert machine.closing.code == CloseCode.LIMIT
            assert not machine.closing.by_peer
            assert not machine.data_to_send()
            return borne
    return most


def ended(pair: Pair, side: str, *, credit: int = 100_000) -> tuple[SessionMachine, int, int]:
    """Have the peer of `side` open a channel and `side` reset it.

    Give the machine, the number, and what it still bears on it.
    """
    machine, number = (pair.cloud, 1) if side == "cloud" else (pair.link, 2)
    machine.receive_data(
        frames.opening_frame(
            number, Opening(call="c", priority=ChannelPriority.BULK, credit=credit), fin=False
        ),
        0.0,
    )
    (opened,) = drain(machine)
    opened.channel.reset(ResetReason.UNKNOWN_CALL)
    while machine.data_to_send():
        pass
    assert number not in machine._channels
    return machine, number, machine._strays.crossing


@pytest.mark.parametrize("side", ["link", "cloud"])
@pytest.mark.parametrize("message", [UNKNOWN_KIND, UNKNOWN_TYPE], ids=["kind", "type"])
def test_what_a_later_release_says_is_ignored_but_not_without_end(
    side: str, message: bytes
) -> None:
    assert flood(getattr(Pair(), side), message, 1_000) == UNCOVERED.burst
    assert flood(getattr(Pair(), side), message, 5_000, gap=1 / UNCOVERED.per_second) == 5_000
    assert (
        UNCOVERED.burst
        < flood(getattr(Pair(), side), message, 20_000, gap=0.9 / UNCOVERED.per_second)
        < 11 * UNCOVERED.burst
    )


def test_before_welcome_as_well() -> None:
    assert flood(Pair(stand=False).cloud, UNKNOWN_KIND, 1_000) == UNCOVERED.burst


@pytest.mark.parametrize("side", ["link", "cloud"])
def test_everything_that_was_granted_may_still_come_after_a_reset_in_any_pieces(side: str) -> None:
    machine, number, crossing = ended(Pair(), side)
    assert crossing == 100_000 + CROSSING_FRAMES
    piece = frames.frame(FrameType.DATA, number, b"x")
    assert flood(machine, piece, 100_000) == 100_000
    assert machine._strays._uncovered.is_full(0.0)
    assert flood(machine, piece, 1_000) == CROSSING_FRAMES + UNCOVERED.burst


@pytest.mark.parametrize(
    "kind", [FrameType.CREDIT, FrameType.RESET, FrameType.DATA, FrameType.MESSAGE]
)
@pytest.mark.parametrize("side", ["link", "cloud"])
def test_a_flood_on_an_ended_channel_is_closed_whatever_it_consists_of(
    side: str, kind: FrameType
) -> None:
    machine, number, crossing = ended(Pair(), side, credit=70_000)
    payload = bytes(16) if kind is FrameType.CREDIT else bytes(2)
    costs = 1 if kind in (FrameType.CREDIT, FrameType.RESET) else 2
    assert (
        flood(machine, frames.frame(kind, number, payload), 100_000)
        == crossing // costs + UNCOVERED.burst
    )


def test_after_the_peer_s_own_reset_nothing_is_on_its_way() -> None:
    cloud = Pair().cloud
    cloud.receive_data(
        frames.opening_frame(
            1, Opening(call="c", priority=ChannelPriority.BULK, credit=1 << 20), fin=False
        ),
        0.0,
    )
    cloud.receive_data(frames.reset_frame(1, ResetReason.CANCELLED, ""), 0.0)
    assert cloud._strays.crossing == 0
    assert flood(cloud, frames.frame(FrameType.DATA, 1, b"x"), 1_000) == UNCOVERED.burst


def test_after_the_peer_s_fin_only_credit_and_reset_are_on_their_way() -> None:
    pair = Pair()
    ours, theirs = pair.open()
    assert theirs.message(b"answer", fin=True)
    ours.finish()
    pair.run()
    assert not pair.cloud._channels
    assert pair.cloud._strays.crossing == len(b"answer") + CROSSING_FRAMES
    assert (
        flood(pair.cloud, frames.frame(FrameType.DATA, ours.number, bytes(100)), 1_000)
        == UNCOVERED.burst
    )


def test_a_reset_that_has_not_left_yet_gives_no_more_than_one_that_has() -> None:
    pair = Pair()
    ours, theirs = pair.open()
    theirs.reset(ResetReason.CANCELLED)
    granted = theirs.receiving.limit - theirs.receiving.arrived
    borne = flood(pair.cloud, frames.frame(FrameType.DATA, ours.number, bytes(1_000)), 10_000)
    assert borne == (granted + CROSSING_FRAMES) // 1_000 + UNCOVERED.burst


def test_a_credit_for_every_small_message_may_cross_a_reset() -> None:
    pair = Pair(
        node=NodeBudget(0)
    )  # the window is as small as it can be, so any consumption makes CREDIT due
    pair.link.receive_data(control_frame(Budget(bytes=0)), 0.0)
    ours, theirs = pair.open()
    theirs.finish()
    for _ in range(500):
        assert ours.message(b"x")
    pair.run()
    while theirs.waiting:
        theirs.next_event(0.0)
        pair.send("cloud")
    assert sum(frame[0] == FrameType.CREDIT for frame in pair.to_link) > UNCOVERED.burst
    ours.reset(ResetReason.CANCELLED)
    pair.run()
    assert pair.link.closing is None
    assert pair.link._strays._uncovered.is_full(0.0)


def test_resets_that_cross_cost_nothing() -> None:
    pair = Pair()
    both = [pair.open() for _ in range(200)]
    for ours, theirs in both:
        ours.reset(ResetReason.CANCELLED)
        theirs.reset(ResetReason.CANCELLED)
    pair.run()
    for machine in (pair.link, pair.cloud):
        assert machine.closing is None
        assert machine._strays._uncovered.is_full(0.0)
        assert not machine._channels


def test_the_account_is_capped() -> None:
    strays = Strays(0.0)
    for _ in range(100):
        strays.channel_ended(4 << 20)
    assert strays.crossing == MAX_CROSSING


KINDS = st.sampled_from([FrameType.DATA, FrameType.MESSAGE, FrameType.CREDIT, FrameType.RESET, 9])


@given(
    st.sampled_from(["link", "cloud"]),
    st.lists(st.sampled_from([0, 1, 1_000, 100_000]), max_size=4),
    st.lists(st.tuples(KINDS, st.integers(1_000, 65_528)), max_size=4),
    st.floats(0, 0.03),
)
@settings(max_examples=amount(40, 1_000), deadline=None)
def test_any_flood_of_strays_is_closed_after_a_bounded_number(side, grants, mixture, gap) -> None:
    machine: SessionMachine = getattr(Pair(), side)
    numbers = list(range(1 if side == "cloud" else 2, 20, 2))[: len(grants)]
    for number, credit in zip(numbers, grants, strict=True):
        opening = Opening(call="c", priority=ChannelPriority.BULK, credit=credit)
        machine.receive_data(frames.opening_frame(number, opening, fin=False), 0.0)
        drain(machine)[0].channel.reset(ResetReason.REFUSED)
        while machine.data_to_send():
            pass
    mixture = [(FrameType.DATA, 30_000), *mixture]
    bound = (
        machine._strays.crossing + 3 * UNCOVERED.burst
    )  # of which the gap refills less than the half
    sent = 0
    while machine.closing is None:
        kind, size = mixture[sent % len(mixture)]
        payload = bytes(16 if kind in (FrameType.CREDIT, FrameType.RESET) else size)
        message = (
            frames.frame(kind, numbers[sent % len(numbers)], payload) if numbers else UNKNOWN_KIND
        )
        machine.receive_data(message, sent * gap)
        sent += 1
        assert sent <= bound
    assert machine.closing == SessionClose(CloseCode.LIMIT, machine.closing.text)
