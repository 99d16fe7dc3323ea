"""uvicorn as we need it.

Deadlines and limits on request heads, small buffers below the wire's scheduler, our own way to
stop.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Generator
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from swallowtail.cloud.http.acceptor import Acceptor, ConnectionObserver, Unlimited
from swallowtail.cloud.http.link_websocket import CLOSE_WAIT, FLOOD_WAIT, LOST, LinkWebSocket
from swallowtail.wire.frames import MAX_FRAME

HEAD_DEADLINE: Final = 15.0
"""Seconds from the first byte of a request to the end of its head, TLS handshake excluded (asyncio
limits that to 60 s).
"""
MAX_HEAD: Final = 64 * 1024
IDLE: Final = 30
"""Seconds that a connection may be kept without a request."""
BACKLOG: Final = 2048


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 whose request heads are bounded in time and size; httptools bounds neither."""

    report: ConnectionObserver = Unlimited()
    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first head."""
        super().connection_made(transport)
        self.report.opened(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Process bytes; a head that is too long ends the connection."""
        if self._head_timer is not None:
            if self._head_bytes > MAX_HEAD:  # before this read, which may hold a body too
                self._give_up()
                return
            self._head_bytes += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Handle the begin of another head, perhaps in the middle of what was read."""
        if self._head_timer is None:
            self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Handle the end of a request's head."""
        self._end_of_head()
        if not self.parser.should_upgrade():
            self.report.prove()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Handle the end of a response."""
        self.report.prove(useful=True)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._end_of_head()
        self.report.lost()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End a connection without a request.

        A client that is not reading answers no close_notify, and is not waited for long.
        """
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(CLOSE_WAIT, self.transport.abort)

    def handle_websocket_upgrade(self) -> None:
        """Pass the connection to the WebSocket, and keep nothing of it."""
        self._end_of_head()
        transport = self.transport
        super().handle_websocket_upgrade()
        if isinstance(protocol := transport.get_protocol(), LinkWebSocket):
            protocol.report = self.report
        self.transport, self.flow = LOST, FlowControl(LOST)

    def send_400_response(self, msg: str) -> None:
        """Respond to a request that is not HTTP; its sender is not given long to read that."""
        super().send_400_response(msg)
        self.loop.call_later(FLOOD_WAIT, self.transport.abort)

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


class Server(uvicorn.Server):
    """uvicorn's server without its signal handling: the composition root decides when it ends."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept on `sockets`, with limits that an asyncio server does not have."""
        acceptors = [Acceptor(one, self.config.ssl, self._protocol) for one in sockets or ()]
        self.servers = cast("list[asyncio.Server]", acceptors)
        self.started = True

    def _protocol(self, report: ConnectionObserver) -> BoundedHttp:
        protocol = BoundedHttp(self.config, self.server_state, {})
        protocol.report = report
        return protocol

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield


def server_of(app: ASGIApp, context: ssl.SSLContext, **settings: Any) -> Server:
    """Return the server of the one port.

    Call `serve(sockets=…)` and set `should_exit` to end it.
    """
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
