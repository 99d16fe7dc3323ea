"""The WebSocket of `/link` on uvicorn: bounded between socket and session, whatever a client sends.

Until the Cloud has accepted the hello, a connection may carry a few frames and a few bytes; a
client that sends more is closed with 4429. Afterwards credit bounds what an honest Link sends, and
at most `FRAMES_PER_TURN` frames of a connection are taken in one turn of the event loop, so that no
client holds up another. The socket is paused only for the turns that this takes, never until a
channel's owner has read (wire §1, ADR 0016).
"""

import asyncio
import contextlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, cast

from prometheus_client import Counter
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request
from websockets.protocol import State

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without a wheel
    from websockets.utils import apply_mask

from swallowtail.cloud.http.acceptor import ConnectionObserver, Unlimited
from swallowtail.cloud.links.asgi_transport import SHORT_WAY
from swallowtail.wire.frames import MAX_FRAME, Frame
from swallowtail.wire.plain_frames import PlainFrames, plain_head
from swallowtail.wire.reasons import CloseCode
from swallowtail.wire.transport import FLOOD_LIMIT, UNSENT_LIMIT
from swallowtail.wire.websocket import tune_socket

MAX_FRAGMENTS: Final = 1024
"""Of one WebSocket message; empty ones cost their sender next to nothing."""
HELLO_FRAMES: Final = 16
"""WebSocket frames before the hello is accepted; a Link sends one (wire §3)."""
HELLO_BYTES: Final = 2 * MAX_FRAME
FRAMES_PER_TURN: Final = 64
"""Of one connection; they take about 0.5 ms."""
GENERAL_FRAME: Final = 8
"""How many plain frames one for the general parser counts as.

A ping brings a TLS record of its own.
"""
MAX_QUEUED: Final = 4 * FRAMES_PER_TURN
"""Messages that wait for the session; it takes all at once, so more means that it has ended."""
CLOSE_WAIT: Final = 0.5
"""Seconds that TLS has for its closing handshake; asyncio alone gives a silent client 30 s."""
CLOSE_HANDSHAKE: Final = 3.0
"""Seconds from a close frame to the abort of the connection."""
FLOOD_WAIT: Final = 0.02
"""The same for a client that is closed for what it sent, and for one that has closed itself: the
last words leave in this turn of the loop."""
BYTES_AFTER_CLOSE: Final = 48 * 1024 * 1024
"""What an accepted Link may still have on its way when it is closed: its credit (wire §5)."""

FLOODS: Final = Counter(
    "swallowtail_floods", "WebSocket connections aborted for what they sent", ["phase"]
)


class LostTransport(asyncio.Transport):
    """Stands for the transport of a lost connection.

    So that what still refers to the connection does not keep its TLS buffers, 0.5 MB, until a
    garbage collection.
    """

    def is_closing(self) -> bool:
        """Return True."""
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Discard data."""

    def get_write_buffer_size(self) -> int:
        """Return 0."""
        return 0

    def close(self) -> None:
        """Do nothing, as the following."""

    abort = pause_reading = resume_reading = close


LOST: Final = LostTransport()


class LinkWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket that is bounded in both directions and does not wait for a channel's owner."""

    report: ConnectionObserver = Unlimited()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the options of the connection."""
        super().connection_made(transport)
        self.read_paused = True  # uvicorn pauses for each message otherwise; here `_paused` counts
        self._plain = PlainFrames(MAX_FRAME, apply_mask)
        self._accepted = False
        self._frames = self._bytes = 0  # before the hello is accepted
        self._bytes_after_close = 0
        self._frames_in_turn = 0
        self._turn: asyncio.Handle | None = None
        self._paused = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self.transport.set_write_buffer_limits(high=UNSENT_LIMIT)
        tune_socket(self.transport.get_extra_info("socket"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what this connection holds."""
        for handle in (self._turn, self._abort_timer):
            if handle is not None:
                handle.cancel()
        super().connection_lost(exc)
        self.report.lost()
        self.transport = LOST
        self._plain = PlainFrames(MAX_FRAME, apply_mask)

    def handle_connect(self, event: Request) -> None:
        """Offer the direct way to the application of this connection (`links.frames`)."""
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            # ASGI's type allows pure data only; this is not
            self.scope["extensions"][SHORT_WAY] = cast("dict[object, object]", self)
        else:
            self._abort_soon(CLOSE_WAIT)

    # What a ShortWay offers

    def admit(self) -> None:
        """End the limits of the hello: from here on credit bounds the peer."""
        self._accepted = True
        self.report.prove(useful=True)

    def write_frames(self, frames: Sequence[Frame]) -> None:
        """Send messages in one write."""
        if self.transport.is_closing() or self.close_sent or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        pieces: list[Frame] = []
        for frame in frames:
            pieces += (plain_head(len(frame)), frame)
        self.transport.write(b"".join(pieces))

    # From the socket

    def data_received(self, data: bytes) -> None:
        """Handle received bytes: plain frames go to the session, others to the general parser."""
        if not self.handshake_initiated:
            super().data_received(data)
        elif self.transport.is_closing():
            return
        elif not self.handshake_complete:
            self._abort_flood("upgrade")  # RFC 6455 4.1: a client waits for the answer
        elif self.close_sent and not self._may_follow_close(len(data)):
            self._abort_flood("closed")
        elif not self._accepted and not self._may_precede_hello(len(data)):
            self._refuse_flood()
        else:
            self._plain.add(data)
            self._cut_frames()

    def _may_follow_close(self, size: int) -> bool:
        self._bytes_after_close += size
        return self._bytes_after_close <= (BYTES_AFTER_CLOSE if self._accepted else HELLO_BYTES)

    def _may_precede_hello(self, size: int) -> bool:
        self._bytes += size
        return self._bytes <= HELLO_BYTES

    def _cut_frames(self) -> None:
        """Process frames until this turn's share is used up; the rest waits for the next turn."""
        while not self.transport.is_closing():
            if self._frames_in_turn >= FRAMES_PER_TURN or self.queue.qsize() >= MAX_QUEUED:
                self._pause()
                return
            if (found := self._plain.cut()) is None:
                return
            self._count_frame(*found)
            if not self._accepted and self._frames > HELLO_FRAMES:
                self._refuse_flood()
                return
            self._take_frame(*found)

    def _count_frame(self, plain: bool, _: bytes) -> None:
        self._frames += not self._accepted
        self._frames_in_turn += 1 if plain else GENERAL_FRAME
        if self._turn is None:
            self._turn = self.loop.call_soon(self._next_turn)

    def _take_frame(self, plain: bool, content: bytes) -> None:
        if plain:
            if not self.close_sent and self.conn.state is State.OPEN:
                self.queue.put_nowait({"type": "websocket.receive", "bytes": content})
            return
        super().data_received(content)
        # pings whose pongs are not read, and a message in endless fragments, end the connection
        if len(self.frames) > MAX_FRAGMENTS or self.transport.get_write_buffer_size() > FLOOD_LIMIT:
            self._abort_flood("session")
        elif self.transport.is_closing():
            # while TLS closes, everything that arrives is still decrypted
            self._abort_soon(FLOOD_WAIT)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _next_turn(self) -> None:
        self._turn = None
        self._frames_in_turn = 0
        if self._paused and not self.transport.is_closing():
            self._cut_frames()
            if self._frames_in_turn < FRAMES_PER_TURN and self.queue.qsize() < MAX_QUEUED:
                self._paused = False
                self.transport.resume_reading()

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next message; reading continues if it had to stop for a full queue."""
        message = await self.queue.get()
        if self._paused and self._turn is None:
            self._turn = self.loop.call_soon(self._next_turn)
        return message

    # Ends

    def _refuse_flood(self) -> None:
        """Close with 4429 a client that sends too much before its hello is accepted (wire §3)."""
        FLOODS.labels("hello").inc()
        text = "too much before the hello was accepted (wire §3)"
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": CloseCode.LIMIT, "reason": text}
        )
        with contextlib.suppress(InvalidState):  # a close frame has been sent already
            self.conn.send_close(CloseCode.LIMIT, text)
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._pause()
        if self.close_timer is not None:
            self.close_timer.cancel()
        # with it uvicorn waits for its end, instead of reading on for the sake of TLS
        self.close_timer = self.loop.call_later(FLOOD_WAIT, self.transport.abort)

    def _abort_flood(self, phase: str) -> None:
        FLOODS.labels(phase).inc()
        self.transport.abort()

    def _abort_soon(self, seconds: float) -> None:
        if self._abort_timer is None and not self.disconnected:
            self._abort_timer = self.loop.call_later(seconds, self.transport.abort)

    def shutdown(self) -> None:
        """End the connection with the server."""
        if self.handshake_complete and not self.close_sent and self.conn.state is not State.OPEN:
            self.transport.abort()  # the peer has closed it; uvicorn would close it again, and fail
            return
        super().shutdown()
        self._abort_soon(CLOSE_WAIT)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Handle the end of the application: the connection does not outlive it for long."""
        super().on_task_complete(task)
        self._abort_soon(CLOSE_HANDSHAKE)

    async def send(self, message: ASGISendEvent) -> None:
        """Send, then wait until little is unsent.

        So that the scheduler chooses as late as it can.
        """
        await super().send(message)
        kind: Any = message["type"]
        if kind == "websocket.http.response.body" and not message.get("more_body", False):
            # uvicorn discards this for an upgrade that was denied, and logs an error
            self.handshake_complete = True
        elif kind == "websocket.close":
            self._abort_soon(CLOSE_HANDSHAKE)
            self.read_paused = True  # uvicorn has resumed reading
            if self._paused:
                self.transport.pause_reading()
        await self.writable.wait()
