"""Accepts the connections of the one port.

TLS handshakes start at a bounded rate (`ConnectionLimits`).

uvicorn's own server starts the handshake of whatever arrives, at once and without limit.
"""

import asyncio
import errno
import math
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog
from prometheus_client import Counter

from swallowtail.cloud.http.connection_limits import AcceptedConnection, ConnectionLimits, accepted
from swallowtail.runtime.tasks import Tasks

log = structlog.get_logger()

HANDSHAKE_SECONDS: Final = 10.0
TLS_CLOSE_SECONDS: Final = 1.0
"""For TLS's closing handshake; what arrives meanwhile is decrypted and dropped."""
ACCEPTS_PER_TURN: Final = 64
PAUSE_WITHOUT_DESCRIPTORS: Final = 1.0
OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
BROKEN: Final = (OSError, ssl.SSLError, TimeoutError)

REFUSED_CONNECTIONS: Final = Counter(
    "swallowtail_connections_turned_away",
    "Connections closed to make space for others",
    ["phase"],
)


class ConnectionObserver(Protocol):
    """A report of a connection's protocol for the limits."""

    def opened(self, transport: asyncio.Transport) -> None:
        """Note the transport, by which the connection can be ended."""

    def prove(self, *, useful: bool = False) -> None:
        """Note that the peer has proven itself, or was even served."""

    def lost(self) -> None:
        """Note that the connection has ended."""


class Unlimited:
    """The report of a connection that nothing limits: a protocol without an acceptor."""

    def opened(self, transport: asyncio.Transport) -> None:
        """Ignore the transport."""

    def prove(self, *, useful: bool = False) -> None:
        """Ignore the proof."""

    def lost(self) -> None:
        """Ignore the end."""


class ConnectionReport:
    """The report of a connection of an `Acceptor`."""

    def __init__(self, acceptor: "Acceptor", connection: AcceptedConnection) -> None:
        self._acceptor, self._connection = acceptor, connection

    def opened(self, transport: asyncio.Transport) -> None:
        """Note the transport, by which the connection can be ended."""
        self._connection.abort = transport.abort

    def prove(self, *, useful: bool = False) -> None:
        """Note that the peer has proven itself, or was even served."""
        self._connection.useful |= useful
        self._acceptor.limits.prove(self._connection)

    def lost(self) -> None:
        """Note that the connection has ended."""
        self._acceptor.ended(self._connection)


MakeProtocol = Callable[[ConnectionObserver], asyncio.Protocol]


class Acceptor:
    """The acceptor of one listening socket, used by uvicorn like an asyncio server."""

    def __init__(
        self, listening: socket.socket, context: ssl.SSLContext | None, make: MakeProtocol
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening, self._context, self._make = listening, context, make
        self.limits = ConnectionLimits(self._loop.time())
        self._sockets: dict[AcceptedConnection, socket.socket] = {}
        self._tasks = Tasks("accept")
        self._timer: asyncio.TimerHandle | None = None
        self._resume: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        listening.listen()
        self._listen()

    def close(self) -> None:
        """Accept no more, and drop what waits."""
        self._loop.remove_reader(self._listening)
        for timer in (self._timer, self._resume):
            if timer is not None:
                timer.cancel()
        for connection in self.limits.clear():
            self._sockets.pop(connection).close()

    async def wait_closed(self) -> None:
        """Wait for the handshakes that run to end."""
        await self._tasks.close()

    def ended(self, connection: AcceptedConnection) -> None:
        """Note the end of a connection, and let go of its transport."""
        connection.abort = _nothing
        self.limits.end(connection, self._loop.time())

    def _listen(self) -> None:
        self._resume = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                found, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                if error.errno not in OUT_OF_DESCRIPTORS:
                    raise
                log.warning("connection not accepted", error=error)
                self._loop.remove_reader(self._listening)
                self._resume = self._loop.call_later(PAUSE_WITHOUT_DESCRIPTORS, self._listen)
                break
            self._offer(found, peer)
        self._start_due()

    def _offer(self, found: socket.socket, peer: Any) -> None:
        found.setblocking(False)
        connection = accepted(peer[0], found.close)
        self._sockets[connection] = found
        if (dropped := self.limits.offer(connection)) is not None:
            REFUSED_CONNECTIONS.labels("waiting").inc()
            self._sockets.pop(dropped).close()

    def _start_due(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while isinstance(found := self.limits.start(self._loop.time()), AcceptedConnection):
            self._start(found)
        if not math.isinf(found):
            self._timer = self._loop.call_later(found, self._start_due)

    def _start(self, connection: AcceptedConnection) -> None:
        task = self._tasks.spawn(
            self._shake_hands(connection, self._sockets.pop(connection)), name="tls"
        )
        connection.abort = task.cancel
        while (oldest := self.limits.excess(connection.host)) is not None:
            REFUSED_CONNECTIONS.labels("unproven").inc()
            abort = oldest.abort
            self.ended(oldest)
            abort()

    async def _shake_hands(self, connection: AcceptedConnection, found: socket.socket) -> None:
        """Run the TLS handshake; what follows is the protocol's."""
        limits: dict[str, Any] = {}
        if self._context is not None:
            limits = {
                "ssl_handshake_timeout": HANDSHAKE_SECONDS,
                "ssl_shutdown_timeout": TLS_CLOSE_SECONDS,
            }
        protocol = self._make(ConnectionReport(self, connection))
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, found, ssl=self._context, **limits
            )
        except BROKEN:
            self.ended(connection)
        except asyncio.CancelledError:
            self.ended(connection)
            found.close()
            raise


def _nothing() -> None:
    """Do nothing: a connection that has ended cannot be aborted."""
