"""Which frame leaves next."""

from collections import deque

from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.scheduler import Scheduler


class Channel:
    def __init__(self, name: str, priority: ChannelPriority, frames: int) -> None:
        self.priority, self.queued, self.credit = priority, False, None
        self.outbox = deque(f"{name}{index}".encode() for index in range(frames))

    def take_credit(self):
        frame, self.credit = self.credit, None
        return frame


def order(scheduler: Scheduler) -> list[bytes]:
    frames = []
    while (taken := scheduler.take()) != (None, None):
        frames.append(taken[0])
    assert not scheduler.waiting
    return frames


def test_channels_of_one_priority_take_turns_and_the_more_urgent_go_first():
    scheduler = Scheduler()
    for channel in (
        Channel("a", ChannelPriority.BULK, 3),
        Channel("b", ChannelPriority.BULK, 1),
        Channel("c", ChannelPriority.INTERACTIVE, 2),
        Channel("d", ChannelPriority.BULK, 2),
    ):
        scheduler.ready(channel)
        scheduler.ready(channel)  # telling twice gives no second turn
    scheduler.control(b"open")
    scheduler.urgent(b"echoed")
    assert scheduler.waiting
    assert order(scheduler) == [
        b"echoed",
        b"open",
        b"c0",
        b"c1",
        b"a0",
        b"b0",
        b"d0",
        b"a1",
        b"d1",
        b"a2",
    ]


def test_a_channel_that_was_emptied_by_a_reset_loses_its_turn_and_can_come_back():
    scheduler, channel = Scheduler(), Channel("a", ChannelPriority.BULK, 2)
    scheduler.ready(channel)
    channel.outbox.clear()
    assert order(scheduler) == []
    channel.outbox.append(b"again")
    scheduler.ready(channel)
    assert order(scheduler) == [b"again"]


def test_credit_is_built_when_its_turn_comes_and_left_out_when_it_is_void():
    scheduler, one, two = (
        Scheduler(),
        Channel("a", ChannelPriority.BULK, 0),
        Channel("b", ChannelPriority.BULK, 0),
    )
    scheduler.credit(one)
    scheduler.credit(two)
    two.credit = b"newest"
    assert scheduler.take() == (b"newest", two)
    assert order(scheduler) == []


def test_clear_forgets_everything():
    scheduler = Scheduler()
    scheduler.urgent(b"a")
    scheduler.control(b"b")
    scheduler.ready(Channel("a", ChannelPriority.BULK, 1))
    assert scheduler.urgent_waiting == 1
    scheduler.clear()
    assert order(scheduler) == []
