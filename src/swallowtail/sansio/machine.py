"""The interface of every protocol machine, so that one pump drives them all.

The shell passes in bytes and the time, pulls events one at a time, and writes what the machine has
to send. Pull, not push: for a consumer that does not request the next event the machine returns
`PAUSED`, and the shell stops reading the socket, so memory stays bounded without a queue.

    shell                                   machine
    receive_data(chunk, now)        ─────▶  buffers at most what its spec allows
    next_event()                    ◀─────  an event, NEED_DATA, PAUSED (consume), CLOSED
    data_to_send()                  ◀─────  bytes for the peer, in order; b"" when there are none
    next_timeout()                  ◀─────  when to call handle_timeout, on the clock of `now`

Time is a float in seconds on a monotonic clock that the caller owns.
"""

import enum
from typing import Final, Literal, Protocol, TypeVar


class Signal(enum.Enum):
    """The result of `next_event` when there is no event."""

    NEED_DATA = "need data"
    PAUSED = "paused"
    CLOSED = "closed"


NEED_DATA: Final = Signal.NEED_DATA
PAUSED: Final = Signal.PAUSED
CLOSED: Final = Signal.CLOSED

NeedData = Literal[Signal.NEED_DATA]

Bytes = bytes | bytearray | memoryview

EventT_co = TypeVar("EventT_co", covariant=True)


class Machine(Protocol[EventT_co]):
    """A protocol as a state machine without I/O."""

    def receive_data(self, data: Bytes, now: float) -> None:
        """Process bytes from the peer; the machine copies what it must keep."""

    def receive_eof(self, now: float) -> None:
        """Handle that the peer sends nothing more."""

    def next_event(self) -> EventT_co | Signal:
        """Return the next event.

        Raises RemoteProtocolError once if the peer broke the protocol, then returns CLOSED.
        """

    def data_to_send(self) -> bytes:
        """Return the bytes for the peer, in order; empty when there are none."""

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is due next."""

    def handle_timeout(self, now: float) -> None:
        """Handle every deadline that `now` has reached."""


class BulkMachine(Machine[EventT_co], Protocol[EventT_co]):
    """A machine that owns its receive buffer: bulk bytes are copied once, from the socket into it.

    A bulk event carries a memoryview into this buffer, valid until the next call of `next_event`.
    """

    def get_buffer(self, size_hint: int) -> memoryview:
        """Return writable space for the next read, at least one byte long.

        The shell must not read while the machine is PAUSED.
        """

    def buffer_updated(self, nbytes: int, now: float) -> None:
        """Handle that the first `nbytes` of the last `get_buffer` were filled."""
