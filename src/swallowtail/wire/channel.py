"""One channel: its states as a table, what it sends, and what waits to be read.

All changes of state go through `CHANNEL_TABLE`, which is the same for opener and acceptor.
Received DATA waits here, bounded by the credit that was granted, until the owner pulls it with
`next_event`; no other channel waits for that.
"""

import enum
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import CLOSED, NEED_DATA, Signal
from swallowtail.wire.frames import (
    FIN,
    HEADER,
    MAX_FRAME,
    MAX_PAYLOAD,
    Credit,
    Frame,
    FrameType,
    Opening,
    credit_frame,
    frame,
    read_credit,
    read_reset,
    reset_frame,
)
from swallowtail.wire.reasons import ResetReason, WireError
from swallowtail.wire.strays import CROSSING_FRAMES
from swallowtail.wire.window import ReceiveWindow, SendWindow

# shorter pieces are merged: an object for each would take more memory than its bytes
MERGE_BELOW: Final = 4096
MAX_WAITING_MESSAGES: Final = 1024


class ChannelState(enum.Enum):
    """The open directions of a channel."""

    # members are singletons; Enum's own hash is a Python call for every frame
    __hash__ = object.__hash__

    IDLE = "idle"
    OPEN = "open"
    HALF_CLOSED_LOCAL = "half closed (local)"
    HALF_CLOSED_REMOTE = "half closed (remote)"
    CLOSED = "closed"
    RESET = "reset"


class ChannelInput(enum.Enum):
    """An input of a channel; a frame with FIN is two inputs."""

    __hash__ = object.__hash__

    SEND_OPEN = "send OPEN"
    SEND_DATA = "send DATA or MESSAGE"
    SEND_FIN = "send FIN"
    SEND_RESET = "send RESET"
    RECEIVE_OPEN = "receive OPEN"
    RECEIVE_DATA = "receive DATA or MESSAGE"
    RECEIVE_FIN = "receive FIN"
    RECEIVE_CREDIT = "receive CREDIT"
    RECEIVE_RESET = "receive RESET"
    LOSE_SESSION = "lose the session"


class ChannelAction(enum.Enum):
    """The action of an input."""

    DO = "do"
    DROP = "drop"


_S, _I, _DO, _DROP = ChannelState, ChannelInput, ChannelAction.DO, ChannelAction.DROP

CHANNEL_TABLE: Final[
    Mapping[tuple[ChannelState, ChannelInput], tuple[ChannelAction, ChannelState]]
] = {
    # no frame was sent or received
    (_S.IDLE, _I.SEND_OPEN): (_DO, _S.OPEN),
    (_S.IDLE, _I.RECEIVE_OPEN): (_DO, _S.OPEN),
    # both directions are open
    (_S.OPEN, _I.SEND_DATA): (_DO, _S.OPEN),
    (_S.OPEN, _I.SEND_FIN): (_DO, _S.HALF_CLOSED_LOCAL),
    (_S.OPEN, _I.SEND_RESET): (_DO, _S.RESET),
    (_S.OPEN, _I.RECEIVE_DATA): (_DO, _S.OPEN),
    (_S.OPEN, _I.RECEIVE_FIN): (_DO, _S.HALF_CLOSED_REMOTE),
    (_S.OPEN, _I.RECEIVE_CREDIT): (_DO, _S.OPEN),
    (_S.OPEN, _I.RECEIVE_RESET): (_DO, _S.RESET),
    (_S.OPEN, _I.LOSE_SESSION): (_DO, _S.RESET),
    # FIN was sent
    (_S.HALF_CLOSED_LOCAL, _I.SEND_RESET): (_DO, _S.RESET),
    (_S.HALF_CLOSED_LOCAL, _I.RECEIVE_DATA): (_DO, _S.HALF_CLOSED_LOCAL),
    (_S.HALF_CLOSED_LOCAL, _I.RECEIVE_FIN): (_DO, _S.CLOSED),
    (_S.HALF_CLOSED_LOCAL, _I.RECEIVE_CREDIT): (_DO, _S.HALF_CLOSED_LOCAL),
    (_S.HALF_CLOSED_LOCAL, _I.RECEIVE_RESET): (_DO, _S.RESET),
    (_S.HALF_CLOSED_LOCAL, _I.LOSE_SESSION): (_DO, _S.RESET),
    # FIN was received
    (_S.HALF_CLOSED_REMOTE, _I.SEND_DATA): (_DO, _S.HALF_CLOSED_REMOTE),
    (_S.HALF_CLOSED_REMOTE, _I.SEND_FIN): (_DO, _S.CLOSED),
    (_S.HALF_CLOSED_REMOTE, _I.SEND_RESET): (_DO, _S.RESET),
    (_S.HALF_CLOSED_REMOTE, _I.RECEIVE_CREDIT): (_DO, _S.HALF_CLOSED_REMOTE),
    (_S.HALF_CLOSED_REMOTE, _I.RECEIVE_RESET): (_DO, _S.RESET),
    (_S.HALF_CLOSED_REMOTE, _I.LOSE_SESSION): (_DO, _S.RESET),
    # FIN was sent and received; frames that crossed it are dropped
    (_S.CLOSED, _I.SEND_RESET): (_DROP, _S.CLOSED),
    (_S.CLOSED, _I.RECEIVE_DATA): (_DROP, _S.CLOSED),
    (_S.CLOSED, _I.RECEIVE_FIN): (_DROP, _S.CLOSED),
    (_S.CLOSED, _I.RECEIVE_CREDIT): (_DROP, _S.CLOSED),
    (_S.CLOSED, _I.RECEIVE_RESET): (_DROP, _S.CLOSED),
    (_S.CLOSED, _I.LOSE_SESSION): (_DROP, _S.CLOSED),
    # RESET was sent or received; frames that crossed it are dropped
    (_S.RESET, _I.SEND_RESET): (_DROP, _S.RESET),
    (_S.RESET, _I.RECEIVE_DATA): (_DROP, _S.RESET),
    (_S.RESET, _I.RECEIVE_FIN): (_DROP, _S.RESET),
    (_S.RESET, _I.RECEIVE_CREDIT): (_DROP, _S.RESET),
    (_S.RESET, _I.RECEIVE_RESET): (_DROP, _S.RESET),
    (_S.RESET, _I.LOSE_SESSION): (_DROP, _S.RESET),
}


class Data(NamedTuple):
    """Bytes of the body, in order; the view is into the received frame.

    Call `consumed` when they have been copied or written.
    """

    view: memoryview


class Message(NamedTuple):
    """A message of the call. It counts as consumed when it is pulled."""

    body: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The peer sends nothing more on this channel."""


class WasReset(NamedTuple):
    """The channel failed: the peer's reason, or SESSION_LOST."""

    reason: ResetReason
    text: str


ChannelEvent = Data | Message | End | WasReset


class Owner(Protocol):
    """The session's interface for its channels."""

    def send_control(self, frame: Frame, channel: "ChannelMachine") -> None: ...
    def send_credit(self, channel: "ChannelMachine") -> None: ...
    def send_frames(self, channel: "ChannelMachine") -> None: ...
    def readable(self, channel: "ChannelMachine") -> None: ...
    def writable(self, channel: "ChannelMachine") -> None: ...


class ChannelMachine:
    """One channel of a session.

    The session creates it; the owner sends, pulls `next_event`, and reports what it `consumed`.

    Sending raises LocalProtocolError where the state does not allow it: after FIN, or when the
    channel has failed.
    """

    def __init__(
        self, number: int, opening: Opening, owner: Owner, send: SendWindow, receive: ReceiveWindow
    ) -> None:
        self.number = number
        self.opening = opening
        self.priority = opening.priority
        self.state = ChannelState.IDLE
        self.outbox: deque[Frame] = deque()  # at most the granted window
        self.queued = False
        self.sending = send
        self.receiving = receive
        self.failure: WasReset | None = None
        self.reset_waiting = False  # our RESET is not sent yet
        self.fin_sent = False
        self.announced = True  # set by the session: no Opened of it waits to be pulled
        # set by the session: that event waits to be pulled
        self.readable_reported = self.writable_reported = False
        self._owner = owner
        self._credit_due = False
        self._frame: bytearray | None = None
        self._space = memoryview(b"")
        self._fill = 0
        # bounded by credit and MAX_WAITING_MESSAGES
        self._inbox: deque[ChannelEvent | bytearray] = deque()
        self._messages_waiting = 0
        self._pulled = 0  # bytes of data pulled and not consumed
        self._ignored = False  # unread and unconsumed data was discarded
        # message bytes pulled after such data: `received` never passes data that is not consumed
        self._deferred = 0
        self._peer_reset = self._peer_finished = self._in_flight_taken = False

    def step(self, what: ChannelInput) -> ChannelAction:
        """Apply an input by the table.

        One that is not listed raises LocalProtocolError if it is ours, WireError if the peer's.
        """
        row = CHANNEL_TABLE.get((self.state, what))
        if row is None:
            text = f"{what.value} on channel {self.number}, which is {self.state.value}"
            raise (
                LocalProtocolError(text)
                if what.name.startswith("SEND")
                else WireError(f"{text} (wire §2)")
            )
        action, self.state = row
        return action

    @property
    def over(self) -> bool:
        """Return whether the channel has ended in both directions."""
        return self.state in (ChannelState.CLOSED, ChannelState.RESET)

    @property
    def waiting(self) -> bool:
        """Return whether there is an event to pull."""
        return bool(self._inbox)

    @property
    def finished(self) -> bool:
        """Return whether it is over and its last frame was sent."""
        return self.over and not self.outbox and not self.reset_waiting

    def take_in_flight(self) -> int:
        """Return, once, the units that may still arrive after the channel's end (wire §2).

        The peer sends no byte beyond `limit`, at most one CREDIT for each byte that it has not
        reported as consumed, and nothing after its RESET.
        """
        if self._in_flight_taken or self._peer_reset:
            return 0
        self._in_flight_taken = True
        granted = 0 if self._peer_finished else self.receiving.limit - self.receiving.arrived
        return granted + self.sending.sent - self.sending.received + CROSSING_FRAMES

    # Sending

    def write(self, view: memoryview) -> int:
        """Copy as much of a body as credit allows into frames; return the number of bytes.

        A frame is sent when it is full, or at `flush`. After a partial copy wait for Writable.
        """
        self.step(ChannelInput.SEND_DATA)
        size = min(len(view), self.sending.credit)
        done = 0
        while done < size:
            if self._frame is None:
                if size - done >= MAX_PAYLOAD:  # a whole frame at once
                    self._queue(frame(FrameType.DATA, self.number, view[done : done + MAX_PAYLOAD]))
                    done += MAX_PAYLOAD
                    continue
                self._frame, self._fill = bytearray(MAX_FRAME), HEADER.size
                self._space = memoryview(self._frame)
            end = min(self._fill + size - done, MAX_FRAME)
            piece = end - self._fill
            self._space[self._fill : end] = view[done : done + piece]
            done, self._fill = done + piece, end
            if end == MAX_FRAME:
                self.flush()
        self.sending.send(size)
        if size < len(view):
            self.flush()  # the peer grants nothing for bytes that it has not received
            self.sending.block()
        return size

    def flush(self, *, fin: bool = False) -> None:
        """Send the frame that is not full yet: the source has no more bytes now."""
        if self._frame is None:
            return
        full = self._frame
        self._space.release()
        if self._fill < MAX_FRAME:
            del full[self._fill :]
        HEADER.pack_into(full, 0, FrameType.DATA, FIN if fin else 0, 0, self.number)
        self._frame = None
        self._queue(full)

    def message(self, body: bytes, *, fin: bool = False) -> bool:
        """Send a message of the call; return False when credit does not cover it yet.

        Then wait for Writable and call again.
        """
        if not 0 < len(body) <= MAX_PAYLOAD:
            raise LocalProtocolError(
                f"a message of {len(body)} bytes; a frame holds 1 to {MAX_PAYLOAD}"
            )
        self.step(ChannelInput.SEND_DATA)
        self.flush()
        if len(body) > self.sending.credit:
            self.sending.block(len(body))
            return False
        self.sending.send(len(body))
        if fin:
            self.step(ChannelInput.SEND_FIN)
        self._queue(frame(FrameType.MESSAGE, self.number, body, fin=fin))
        return True

    def finish(self) -> None:
        """Close the sending direction: FIN is set in the last frame."""
        self.step(ChannelInput.SEND_FIN)
        if self._frame is not None:
            self.flush(fin=True)
        else:
            self._queue(frame(FrameType.DATA, self.number, fin=True))

    def reset(self, reason: ResetReason, text: str = "") -> None:
        """Reset the channel; frames and events that wait in it are dropped.

        After the channel has ended, only its unread events are dropped.
        """
        if self.step(ChannelInput.SEND_RESET) is ChannelAction.DO:
            self._discard()
            self.failure = WasReset(reason, text)
            self.reset_waiting = True
            self._owner.send_control(reset_frame(self.number, reason, text), self)
        elif self.state is ChannelState.CLOSED:
            self._ignore()

    def _queue(self, full: Frame) -> None:
        self.outbox.append(full)
        self._owner.send_frames(self)

    def take_credit(self) -> Frame | None:
        """Return the CREDIT that is due, with the newest numbers."""
        if not self._credit_due or self.over:
            return None
        self._credit_due = False
        return credit_frame(self.number, Credit(self.receiving.consumed, self.receiving.limit))

    # Receiving

    def next_event(self, now: float) -> ChannelEvent | Signal:
        """Pull the next event; NEED_DATA: wait for Readable; CLOSED: nothing will follow."""
        if not self._inbox:
            return CLOSED if self._ended() else NEED_DATA
        event = self._inbox.popleft()
        if isinstance(event, Data):
            self._pulled += len(event.view)
        elif isinstance(event, bytearray):
            self._pulled += len(event)
            return Data(memoryview(event))
        elif isinstance(event, Message):
            self._messages_waiting -= 1
            self._deferred += len(event.body)
            if not self._pulled:
                self._settle(0, now)
        return event

    def _ended(self) -> bool:
        return self.state in (
            ChannelState.HALF_CLOSED_REMOTE,
            ChannelState.CLOSED,
            ChannelState.RESET,
        )

    def consumed(self, size: int, now: float) -> None:
        """Record that `size` more bytes of the pulled data were consumed.

        This is what grants the peer credit.
        """
        if self._ignored:
            return
        if size > self._pulled:
            raise LocalProtocolError(f"{size} bytes consumed, but only {self._pulled} were pulled")
        self._pulled -= size
        self._settle(size, now)

    def _settle(self, size: int, now: float) -> None:
        if not self._pulled:
            size, self._deferred = size + self._deferred, 0
        if size and self.receiving.consume(size, now):
            self._grant()

    def _grant(self) -> None:
        if not self._credit_due:
            self._credit_due = True
            self._owner.send_credit(self)

    def accept(self, now: float) -> None:
        """Grant the opener credit at once if it could not grant itself enough (wire §5)."""
        if (
            not self._ended()
            and self.receiving.limit < MAX_PAYLOAD
            and self.receiving.consume(0, now)
        ):
            self._grant()

    def receive_data(self, received: Frame, flags: int) -> int:
        """Process a DATA frame; return the size of its payload in bytes."""
        if self.step(ChannelInput.RECEIVE_DATA) is ChannelAction.DROP:
            return 0
        size = len(received) - HEADER.size
        if not size and not flags & FIN:
            raise WireError("DATA without bytes or FIN (wire §2)")
        self.receiving.arrive(size)
        if size:
            self.receiving.receive_data()
            self._put_data(received, size)
        self._received(flags)
        return size

    def _put_data(self, received: Frame, size: int) -> None:
        if size >= MERGE_BELOW:
            self._inbox.append(Data(memoryview(received)[HEADER.size :]))
            return
        last = self._inbox[-1] if self._inbox else None
        if isinstance(last, bytearray) and len(last) + size <= MAX_PAYLOAD:
            last += memoryview(received)[HEADER.size :]
        else:
            self._inbox.append(bytearray(memoryview(received)[HEADER.size :]))

    def receive_message(self, received: Frame, flags: int) -> None:
        """Process a MESSAGE frame."""
        if self.step(ChannelInput.RECEIVE_DATA) is ChannelAction.DROP:
            return
        if len(received) == HEADER.size:
            raise WireError("an empty MESSAGE (wire §2)")  # it would cost no credit
        self.receiving.arrive(len(received) - HEADER.size)
        if self._messages_waiting >= MAX_WAITING_MESSAGES:
            self.reset(
                ResetReason.LIMIT, f"more than {MAX_WAITING_MESSAGES} messages wait to be read"
            )
            self._owner.readable(self)
            return
        self._messages_waiting += 1
        self._inbox.append(Message(bytes(memoryview(received)[HEADER.size :])))
        self._received(flags)

    def _received(self, flags: int) -> None:
        if flags & FIN:
            self.receive_fin()
        self._owner.readable(self)

    def receive_fin(self) -> None:
        """Process the peer's FIN."""
        self.step(ChannelInput.RECEIVE_FIN)
        self._peer_finished = True
        self.receiving.end()
        self._inbox.append(End())

    def receive_credit(self, payload: memoryview) -> None:
        """Process a CREDIT frame."""
        credit = read_credit(payload)
        if self.step(ChannelInput.RECEIVE_CREDIT) is ChannelAction.DROP:
            return
        if self.sending.credited(credit):
            self._owner.writable(self)

    def receive_reset(self, payload: memoryview) -> None:
        """Process a RESET frame."""
        reason, text = read_reset(payload)
        self._peer_reset = True
        self._fail(ChannelInput.RECEIVE_RESET, reason, text)
        # both may have sent FIN while our last frames still wait
        self.outbox.clear()

    def lose_session(self, text: str) -> None:
        """Fail the channel because its session has ended."""
        self._fail(ChannelInput.LOSE_SESSION, ResetReason.SESSION_LOST, text)

    def _fail(self, what: ChannelInput, reason: ResetReason, text: str) -> None:
        if self.step(what) is ChannelAction.DROP:
            return
        self._discard()
        self.failure = WasReset(reason, text)
        self._inbox.append(self.failure)
        self._owner.readable(self)
        self._owner.writable(self)

    def _discard(self) -> None:
        self._frame = None
        self._space.release()
        self.outbox.clear()
        self._ignore()

    def _ignore(self) -> None:
        self._ignored = True
        self._inbox.clear()
        self._messages_waiting = self._pulled = self._deferred = 0
        self.receiving.drop()
