"""Drives any machine over a transport: bytes in, events out on demand, bytes out, one timer.

Reading follows the consumer: bytes that arrive while it does not wait for an event pause the socket
until it does, so that at most one read is buffered ahead. From a peer that does not read what it is
sent nothing is read either, so that responses do not accumulate. The timer is re-armed only when it
fires or when an earlier deadline appears: a busy or idle connection costs no timer work per read.
All time is `loop.time()`; the transport may be a simulated one without a socket.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from swallowtail.sansio.machine import NEED_DATA, BulkMachine, Signal

EventT = TypeVar("EventT")
EventT_co = TypeVar("EventT_co", covariant=True)

FLUSH_TIME: Final = 1.0  # for unwritten bytes when a machine has finished; then abort
DISCARD_LIMIT: Final = 262_144  # read and ignored from a peer that was asked to disconnect
STALL: Final = 60.0  # seconds in which a peer reads nothing of what waits for it; then abort
UNREAD_LIMIT: Final = 262_144  # unread bytes at the peer from which on nothing is read from it
TURN: Final = 256  # events that one consumer takes before other tasks run


class PumpedMachine(BulkMachine[EventT_co], Protocol[EventT_co]):
    """The interface of a machine that the pump drives."""

    @property
    def closed(self) -> bool:
        """Return whether nothing will follow for the consumer.

        The transport may still be needed.
        """

    @property
    def finished(self) -> bool:
        """Return whether the transport is to be closed as soon as everything is written."""

    def reading_paused(self, now: float) -> None:
        """Handle that the transport is not read until `reading_resumed`."""

    def reading_resumed(self, now: float) -> None:
        """Handle that the transport is read again."""


class Pump(asyncio.BufferedProtocol, Generic[EventT]):
    """One machine on one transport.

    One consumer awaits `next_event`; after any other call of the machine, call `flush`.
    """

    def __init__(
        self,
        machine: PumpedMachine[EventT],
        *,
        after_read: Callable[[asyncio.BaseTransport], Callable[[], None] | None] | None = None,
        on_connected: Callable[["Pump[EventT]"], None] | None = None,
        on_lost: Callable[["Pump[EventT]"], None] | None = None,
        stall: float = STALL,
    ) -> None:
        self._machine = machine
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._after_read = after_read
        self._rearm: Callable[[], None] | None = None
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._waiter: asyncio.Future[None] | None = None  # the consumer, when it waits
        self._drained: asyncio.Future[None] | None = None  # pending while the transport is full
        self._stall = stall
        self._stalled: asyncio.TimerHandle | None = None
        self.stalled = False
        """Whether the transport was aborted because the peer read nothing of what was sent."""
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self.read_at = self._loop.time()
        self._reading = True
        self._discarded = 0
        self._taken = 0
        self._closing = False

    # For the consumer

    async def next_event(self) -> EventT | Signal:
        """Return the next event, or CLOSED; raises what the machine raises.

        Cancelling loses nothing.
        """
        self._taken += 1
        if self._taken % TURN == 0:  # a buffer may hold thousands of tiny events
            await asyncio.sleep(0)
        while (
            self._drained is not None
            and self._transport is not None
            and self._transport.get_write_buffer_size() > UNREAD_LIMIT
        ):
            await asyncio.wait((self._drained, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                break
        while True:
            try:
                event = self._machine.next_event()
            finally:
                self.flush()
            if not isinstance(event, Signal) or self._machine.closed:
                return event
            if event is NEED_DATA:
                self._resume()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def flush(self) -> None:
        """Write the machine's bytes, set the timer, close the transport when it is done."""
        data, transport = self._machine.data_to_send(), self._transport
        if data and transport is not None and not self._closing and not transport.is_closing():
            transport.write(data)
        if self._machine.closed:
            self._wake()  # another task may have ended it
        if self._machine.finished:
            self._close()
        else:
            self._arm()

    async def drain(self) -> None:
        """Wait until the transport takes more.

        Raises ConnectionResetError when it no longer exists.

        The deadline is the caller's.
        """
        if self._drained is not None and not self._ended.done():
            await asyncio.wait((self._drained, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if self._ended.done():
            raise ConnectionResetError("the connection is closed")

    def abort(self) -> None:
        """Abort the transport."""
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the transport no longer exists."""
        await asyncio.shield(self._ended)

    def transport_info(self, name: str) -> object:
        """Return the transport's extra information, None when there is none."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    # For the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio promises a Transport to a stream protocol
        self._transport = transport  # type: ignore[assignment]
        if self._after_read is not None:
            self._rearm = self._after_read(transport)
        self.flush()
        if self._on_connected is not None:
            self._on_connected(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._machine.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        self.read_at = self._loop.time()
        self._machine.buffer_updated(nbytes, self.read_at)
        if self._rearm is not None:
            self._rearm()
        if self._machine.closed:
            self._discarded += nbytes
            if self._discarded > DISCARD_LIMIT:
                self._pause()
            self.flush()
        elif not self._wake():
            self._pause()

    def eof_received(self) -> bool:
        self._machine.receive_eof(self._loop.time())
        if self._machine.closed:
            self.flush()
        self._wake()
        # Open until the machine has finished: a response may be due. TLS cannot be half open.
        return not self._machine.finished and self.transport_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._machine.receive_eof(self._loop.time())
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        if not self._ended.done():
            self._ended.set_result(None)
        self._wake()
        if self._on_lost is not None:
            self._on_lost(self)

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = self._loop.create_future()
            self._watch_stall()

    def resume_writing(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
        if self._stalled is not None:
            self._stalled.cancel()

    # Inside

    def _watch_stall(self) -> None:
        if self._transport is not None:
            waiting = self._transport.get_write_buffer_size()
            self._stalled = self._loop.call_later(self._stall, self._check_stall, waiting)

    def _check_stall(self, waited: int) -> None:
        if self._transport is not None and self._transport.get_write_buffer_size() >= waited:
            self.stalled = True
            self._transport.abort()
        else:
            self._watch_stall()

    def _wake(self) -> bool:
        if self._waiter is None or self._waiter.done():
            return False
        self._waiter.set_result(None)
        return True

    def _pause(self) -> None:
        if self._reading and self._transport is not None and not self._closing:
            self._reading = False
            self._transport.pause_reading()
            self._machine.reading_paused(self._loop.time())

    def _resume(self) -> None:
        if not self._reading and self._transport is not None and not self._closing:
            self._reading = True
            self._machine.reading_resumed(self._loop.time())
            self._transport.resume_reading()
            self._arm()

    def _arm(self) -> None:
        due = None if self._closing else self._machine.next_timeout()
        if due is None or (self._timer is not None and self._timer.when() <= due):
            return  # a timer that fires early is set again
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        now = self._loop.time()
        due = self._machine.next_timeout()
        if due is not None and now >= due:
            self._machine.handle_timeout(now)
            self._wake()
        self.flush()

    def _close(self) -> None:
        if self._closing or self._transport is None:
            return
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.close()
        self._timer = self._loop.call_later(FLUSH_TIME, self._transport.abort)
