"""The order of frames (wire §6).

Control before interactive before bulk, and channels of one priority take turns.

Frames are taken one at a time, and little unsent data waits below, so urgent frames overtake all
that were not sent yet.
"""

from collections import deque
from typing import Final, Protocol

from swallowtail.wire.frames import ChannelPriority, Frame


class FrameSource(Protocol):
    """The scheduler's view of a channel."""

    outbox: deque[Frame]
    priority: ChannelPriority
    queued: bool

    def take_credit(self) -> Frame | None:
        """Return the CREDIT that is due, with the newest numbers.

        None when it is not due any more.
        """


class Scheduler:
    """The order in which frames are sent.

    Bounded by its input: credit bounds the outboxes, the machine bounds the control frames.
    """

    def __init__(self) -> None:
        self._urgent: deque[Frame] = deque()
        self._control: deque[tuple[Frame | None, FrameSource | None]] = deque()
        self._turns: Final = {priority: deque[FrameSource]() for priority in ChannelPriority}

    def urgent(self, frame: Frame) -> None:
        """Send before everything else: an echo, or its answer."""
        self._urgent.append(frame)

    def control(self, frame: Frame, sender: FrameSource | None = None) -> None:
        """Send before all data; `sender` is passed back by `take` together with the frame."""
        self._control.append((frame, sender))

    def credit(self, sender: FrameSource) -> None:
        """Send the CREDIT of a channel; it is built when its turn has come."""
        self._control.append((None, sender))

    def withdraw(self, sender: FrameSource) -> None:
        """Withdraw the control frames of a channel that were not sent."""
        self._control = deque(item for item in self._control if item[1] is not sender)

    def ready(self, sender: FrameSource) -> None:
        """Schedule a channel whose outbox is not empty."""
        if not sender.queued:
            sender.queued = True
            self._turns[sender.priority].append(sender)

    def clear(self) -> None:
        """Discard everything that waits."""
        self._urgent.clear()
        self._control.clear()
        for turns in self._turns.values():
            turns.clear()

    @property
    def waiting(self) -> bool:
        """Return whether there may be something to send."""
        return bool(self._urgent or self._control or any(self._turns.values()))

    @property
    def urgent_waiting(self) -> int:
        """Return how many urgent frames were not sent yet."""
        return len(self._urgent)

    def take(self) -> tuple[Frame | None, FrameSource | None]:
        """Return the next frame and its channel, if any; (None, None) when nothing waits."""
        if self._urgent:
            return self._urgent.popleft(), None
        while self._control:
            frame, sender = self._control.popleft()
            if frame is None and sender is not None:
                frame = sender.take_credit()
            if frame is not None:
                return frame, sender
        for turns in self._turns.values():
            while turns:
                sender = turns.popleft()
                if not sender.outbox:  # reset in the meantime
                    sender.queued = False
                    continue
                frame = sender.outbox.popleft()
                if sender.outbox:
                    turns.append(sender)
                else:
                    sender.queued = False
                return frame, sender
        return None, None
