"""One channel: frames out of bytes, bytes out of frames, who owns them, and what is kept."""

import pytest

from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import CLOSED, NEED_DATA
from swallowtail.wire import frames
from swallowtail.wire.channel import (
    MAX_WAITING_MESSAGES,
    ChannelInput,
    ChannelMachine,
    ChannelState,
    Data,
    End,
    Message,
    WasReset,
)
from swallowtail.wire.frames import FIN, ChannelPriority, FrameType, Opening
from swallowtail.wire.reasons import ResetReason
from swallowtail.wire.window import ReceiveWindow, SendWindow, SessionBudget


class Owner:
    """Notes what the channel asks of its session."""

    def __init__(self) -> None:
        self.control, self.credit, self.ready, self.events = [], 0, 0, []

    def send_control(self, frame, channel) -> None:
        self.control.append(frame)

    def send_credit(self, channel) -> None:
        self.credit += 1

    def send_frames(self, channel) -> None:
        self.ready += 1

    def readable(self, channel) -> None:
        self.events.append("readable")

    def writable(self, channel) -> None:
        self.events.append("writable")


def channel(*, send: int = 1 << 20, receive: int = 1 << 20) -> tuple[ChannelMachine, Owner]:
    owner = Owner()
    opening = Opening(call="c", priority=ChannelPriority.BULK)
    made = ChannelMachine(
        7, opening, owner, SendWindow(send), ReceiveWindow(receive, SessionBudget(), 0.0)
    )
    made.step(ChannelInput.SEND_OPEN)
    return made, owner


def data(payload: bytes) -> bytes:
    return frames.frame(FrameType.DATA, 7, payload)


def out(machine: ChannelMachine) -> list[tuple[int, int, int]]:
    """Give type, flags and size of what waits to be sent."""
    return [(frame[0], frame[1], len(frame) - 8) for frame in machine.outbox]


DATA, MESSAGE = FrameType.DATA, FrameType.MESSAGE


def test_pieces_fill_frames_and_large_ones_are_cut():
    machine, owner = channel()
    machine.write(memoryview(b"a" * 60_000))
    assert not machine.outbox
    machine.write(memoryview(b"b" * 150_000))
    assert out(machine) == [(DATA, 0, 65_528)] * 3
    assert owner.ready == 3
    machine.flush()
    machine.flush()
    assert out(machine)[3:] == [(DATA, 0, 210_000 - 3 * 65_528)]
    assert b"".join(bytes(frame[8:]) for frame in machine.outbox) == b"a" * 60_000 + b"b" * 150_000


@pytest.mark.parametrize("piece", [1000, 65_528])
def test_fin_goes_with_the_last_frame(piece):
    machine, _ = channel()
    machine.write(memoryview(bytes(piece)))
    machine.finish()
    assert out(machine) == (
        [(DATA, FIN, 1000)] if piece == 1000 else [(DATA, 0, 65_528), (DATA, FIN, 0)]
    )
    for more in (
        machine.finish,
        lambda: machine.write(memoryview(b"")),
        lambda: machine.message(b"x"),
    ):
        with pytest.raises(LocalProtocolError, match="half closed"):
            more()


def test_a_message_keeps_its_place_behind_the_bytes_before_it():
    machine, _ = channel()
    machine.write(memoryview(b"body"))
    assert machine.message(b"end", fin=True)
    assert out(machine) == [(DATA, 0, 4), (MESSAGE, FIN, 3)]


def test_without_credit_what_was_written_leaves_and_the_rest_waits():
    machine, owner = channel(send=100)
    assert machine.write(memoryview(bytes(150))) == 100
    assert out(machine) == [(DATA, 0, 100)]
    assert not machine.message(b"x")
    machine.receive_credit(memoryview(frames.credit_frame(7, frames.Credit(100, 101))[8:]))
    assert owner.events == ["writable"]
    assert machine.message(b"x")
    assert machine.sending.credit == 0


def test_small_pieces_that_wait_are_put_together():
    machine, _ = channel()
    for _ in range(10_000):
        machine.receive_data(data(b"xyz"), 0)
    machine.receive_data(data(bytes(5_000)), 0)
    machine.receive_data(data(b"end"), 0)
    assert len(machine._inbox) == 3
    assert [len(machine.next_event(0.0).view) for _ in range(3)] == [30_000, 5_000, 3]
    assert machine.next_event(0.0) is NEED_DATA
    machine.consumed(35_003, 0.0)
    with pytest.raises(LocalProtocolError, match="only 0 were pulled"):
        machine.consumed(1, 0.0)


def test_a_large_piece_is_a_view_into_the_frame_that_came():
    machine, _ = channel()
    frame = data(bytes(10_000))
    machine.receive_data(frame, 0)
    assert machine.next_event(0.0).view.obj is frame


def test_a_message_does_not_make_the_bytes_before_it_received():
    machine, _ = channel()
    machine.receive_data(data(bytes(9_000)), 0)
    machine.receive_message(frames.frame(MESSAGE, 7, b"m" * 100), 0)
    assert isinstance(machine.next_event(0.0), Data)
    assert machine.next_event(0.0) == Message(b"m" * 100)
    assert machine.receiving.consumed == 0
    machine.consumed(4_000, 0.0)
    assert machine.receiving.consumed == 4_000
    machine.consumed(5_000, 0.0)
    assert machine.receiving.consumed == 9_100


def test_credit_is_asked_for_once_and_carries_the_newest_numbers():
    machine, owner = channel()
    for _ in range(8):
        machine.receive_data(data(bytes(65_528)), 0)
        machine.next_event(0.0)
        machine.consumed(65_528, 5.0)
    assert owner.credit == 1
    credit = frames.read_credit(memoryview(machine.take_credit())[8:])
    assert credit == (8 * 65_528, machine.receiving.limit)
    assert machine.take_credit() is None


def test_messages_that_nobody_reads_reset_the_channel():
    machine, owner = channel()
    for _ in range(MAX_WAITING_MESSAGES):
        machine.receive_message(frames.frame(MESSAGE, 7, b"m"), 0)
    assert machine.state is ChannelState.OPEN
    machine.receive_message(frames.frame(MESSAGE, 7, b"m"), 0)
    assert machine.failure.reason is ResetReason.LIMIT
    assert owner.control[0][0] == FrameType.RESET
    assert machine.next_event(0.0) is CLOSED
    assert machine.receiving.held == 0


def test_a_reset_drops_what_waits_and_gives_its_reason_once():
    machine, owner = channel()
    machine.write(memoryview(bytes(100_000)))
    machine.receive_data(data(b"unread"), 0)
    machine.receive_reset(memoryview(frames.reset_frame(7, ResetReason.DEADLINE, "slow")[8:]))
    assert not machine.outbox
    assert owner.events[-2:] == ["readable", "writable"]
    assert [machine.next_event(0.0) for _ in range(2)] == [
        WasReset(ResetReason.DEADLINE, "slow"),
        CLOSED,
    ]
    machine.consumed(6, 0.0)  # what was pulled before may still be handed in
    machine.reset(ResetReason.CANCELLED)
    assert not owner.control


def test_a_reset_after_the_end_lets_go_of_what_nobody_read():
    machine, owner = channel()
    machine.receive_data(frames.frame(DATA, 7, bytes(9_000), fin=True), FIN)
    machine.next_event(0.0)
    machine.finish()
    assert machine.receiving.held == 9_000
    machine.reset(ResetReason.CANCELLED)
    assert machine.receiving.held == 0
    assert not owner.control
    assert out(machine) == [(DATA, FIN, 0)]  # our own end still goes out
    assert machine.next_event(0.0) is CLOSED
    machine.consumed(9_000, 0.0)  # whoever had pulled it may still say so


def test_the_end_comes_behind_what_was_sent():
    machine, _ = channel()
    machine.receive_data(frames.frame(DATA, 7, b"last", fin=True), FIN)
    assert bytes(machine.next_event(0.0).view) == b"last"
    assert machine.next_event(0.0) == End()
    assert machine.next_event(0.0) is CLOSED
