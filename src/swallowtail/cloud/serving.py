"""uvicorn as we need it: deadlines and limits on request heads, small buffers below the wire's scheduler, our own way to stop."""

import asyncio
import contextlib
import ssl
from collections.abc import Generator, Sequence
from http import HTTPStatus
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without a wheel
    from websockets.utils import apply_mask

from swallowtail.cloud.links.frames import SHORT_WAY
from swallowtail.wire.frames import MAX_FRAME, Frame
from swallowtail.wire.plain_frames import PlainFrames, plain_head
from swallowtail.wire.transport import FLOOD_LIMIT, UNSENT_LIMIT
from swallowtail.wire.websocket import tune_socket

HEAD_DEADLINE: Final = 15.0
"""Seconds from the first byte of a request to the end of its head, TLS handshake excluded (asyncio limits that to 60 s)."""
MAX_HEAD: Final = 64 * 1024
IDLE: Final = 30
"""Seconds that a connection may be kept without a request."""
CLOSE_WAIT: Final = 0.5
"""Seconds that an idle client has to take part in TLS's goodbye when the Cloud stops; asyncio alone would give it 30."""
BACKLOG: Final = 2048
MAX_FRAGMENTS: Final = 1024
"""Of one WebSocket message; empty ones cost their sender next to nothing, and uvicorn counts only their bytes."""


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 whose request heads are bounded in time and size; httptools bounds neither."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that is too long ends the connection."""
        if self._head_timer is not None:
            if self._head_bytes > MAX_HEAD:  # before this read, which may hold a body too
                self._give_up()
                return
            self._head_bytes += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Another head begins, perhaps in the middle of what was read."""
        if self._head_timer is None:
            self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._end_of_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._end_of_head()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End a connection without a request; a client that is not reading answers no close_notify, and is not waited for long."""
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(CLOSE_WAIT, self.transport.abort)

    def _wait_for_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_DEADLINE, self._give_up)

    def _end_of_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._end_of_head()
        self.transport.abort()


class LinkWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket that keeps little unsent data below the wire's scheduler, and never stops reading (wire §1, §6).

    uvicorn pauses the socket for every message until the application takes it. The session takes each at once, and its credit
    bounds what the peer may send; so the pause, which costs a turn of the loop, is left out by saying that it is there already.
    """

    def handle_connect(self, event: Request) -> None:
        """Offer the short way to whoever serves this connection (`links.frames`)."""
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self.scope["extensions"][SHORT_WAY] = cast("dict[object, object]", self)  # ASGI's type means pure data; this is not

    def write_frames(self, frames: Sequence[Frame]) -> None:
        """Send messages in one write (`links.frames.ShortWay`)."""
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        pieces: list[Frame] = []
        for frame in frames:
            pieces += (plain_head(len(frame)), frame)
        self.transport.write(b"".join(pieces))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tune the connection."""
        super().connection_made(transport)
        self.read_paused = True
        self._plain = PlainFrames(MAX_FRAME, apply_mask)
        self.transport.set_write_buffer_limits(high=UNSENT_LIMIT)
        tune_socket(self.transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Take bytes: plain frames go straight to the session, anything else through the general parser."""
        if not self.handshake_complete:
            super().data_received(data)
            return
        for plain, content in self._plain.feed(data):
            if self.transport.is_closing():
                return
            if not plain:
                self._take_general(content)
            elif not self.close_sent and self.conn.state is State.OPEN:
                self.queue.put_nowait({"type": "websocket.receive", "bytes": content})

    def _take_general(self, data: bytes) -> None:
        """Pings whose pongs nobody reads, and a message in endless pieces, end the connection."""
        super().data_received(data)
        if len(self.frames) > MAX_FRAGMENTS or self.transport.get_write_buffer_size() > FLOOD_LIMIT:
            self.transport.abort()

    def shutdown(self) -> None:
        """End the connection with the server; a Link that hears nothing answers no close_notify, and is not waited for long."""
        super().shutdown()
        self.loop.call_later(CLOSE_WAIT, self.transport.abort)

    async def receive(self) -> ASGIReceiveEvent:
        """Give the next message; reading was never paused."""
        return await self.queue.get()

    async def send(self, message: ASGISendEvent) -> None:
        """Send, then wait until little is left unsent, so that the scheduler picks the next frame as late as it can."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # uvicorn forgets this for an upgrade that was denied, and logs an error
        await self.writable.wait()


class Server(uvicorn.Server):
    """uvicorn's server without its signal handling: the composition root decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield


def server_of(app: ASGIApp, context: ssl.SSLContext, **settings: Any) -> Server:
    """Give the server of the one port; call `serve(sockets=…)` and set `should_exit` to end it."""
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        ws=LinkWebSocket,
        ws_max_size=MAX_FRAME,
        ws_ping_interval=None,  # wire §1: liveness is the wire's own
        ws_ping_timeout=None,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,  # QIDO carries patients in its query string
        proxy_headers=False,  # the peer's address is the peer's
        server_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=5,
        backlog=BACKLOG,
        ssl_context_factory=lambda _config, _default: context,
        **settings,
    )
    return Server(config)
