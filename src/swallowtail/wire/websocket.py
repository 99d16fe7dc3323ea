"""A WebSocket as the transport of a session.

Plain frames bypass the library; everything else goes through it.
"""

import asyncio
import secrets
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import DATA_OPCODES, Opcode
from websockets.frames import Frame as WebSocketFrame
from websockets.protocol import Event, State

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without a wheel
    from websockets.utils import apply_mask

from swallowtail.wire.frames import MAX_FRAME, Frame
from swallowtail.wire.plain_frames import PlainFrames, plain_head
from swallowtail.wire.reasons import CloseCode
from swallowtail.wire.transport import (
    FLOOD_LIMIT,
    UNSENT_LIMIT,
    WRITES_PER_TURN,
    TransportClosedError,
)

WINDOWS_SEND_BUFFER: Final = 256 * 1024
CLOSE_SECONDS: Final = 5.0
MAX_CLOSE_TEXT: Final = 123  # RFC 6455 5.5
HEAD_END: Final = b"\r\n\r\n"
KEYS: Final = 256
TEXT_MESSAGE: Final = "the peer sent a text message (wire §1)"


def tune_socket(sock: socket.socket) -> None:
    """Limit unsent data in the kernel, so that control frames overtake bulk (wire §6).

    Nagle's algorithm is disabled.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
    elif sys.platform == "win32":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WINDOWS_SEND_BUFFER)


class LinkConnection(ClientConnection):
    """The library's connection, which plain frames bypass.

    Handshakes and control frames go through it. It does not pause the socket (wire §1), and it
    aborts the connection of a peer that pings and does not read the pongs.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head = b""
        self._plain = PlainFrames(MAX_FRAME)
        self._keys: Iterator[tuple[bytes]] = iter(())
        self._received: list[bytes] = []  # bounded by credit
        self._pieces = bytearray()  # bounded by MAX_FRAME
        self._text = False
        self._writes = 0
        self._waiter: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.protocol.state is State.CONNECTING:
            data = self._take_head(data)
        if self.protocol.state is State.CONNECTING:
            return
        for plain, content in self._plain.feed(data):
            if not plain:
                super().data_received(content)
            elif self.protocol.state is State.OPEN:
                self._put(content)
        if self.transport.get_write_buffer_size() > FLOOD_LIMIT:
            self.transport.abort()

    def _take_head(self, data: bytes) -> bytes:
        """Pass the head of the upgrade's response to the library; return what follows it."""
        end = (self._head + data).find(HEAD_END)
        cut = len(data) if end < 0 else end + len(HEAD_END) - len(self._head)
        self._head = (self._head + data)[1 - len(HEAD_END) :]
        super().data_received(data[:cut])
        if self.protocol.state is State.CONNECTING and cut < len(data):
            super().data_received(data[cut:])  # no upgrade: the body of the error
        return data[cut:]

    def process_event(self, event: Event) -> None:
        if not isinstance(event, WebSocketFrame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._text |= event.opcode is Opcode.TEXT
        self._pieces += event.data
        if event.fin:
            self._put(bytes(self._pieces))
            self._pieces.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wake()

    def _put(self, message: bytes) -> None:
        self._received.append(message)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[bytes]:
        """Wait for messages.

        Raises TransportClosedError when the connection is closed, and for a text message.
        """
        while not self._received and self.protocol.state is not State.CLOSED:
            self._waiter = self.loop.create_future()
            await self._waiter
        if self._text:
            raise TransportClosedError(CloseCode.VIOLATION, TEXT_MESSAGE)
        if not self._received:
            raise _closed(self.protocol.close_exc)
        messages, self._received = self._received, []
        return messages

    async def write(self, frames: Sequence[Frame]) -> None:
        """Send messages in one write, and wait until little is unsent.

        Raises TransportClosedError.
        """
        if self.protocol.state is not State.OPEN or self.transport.is_closing():
            raise TransportClosedError(1006, "the connection is closed")
        pieces: list[bytes] = []
        for frame in frames:
            key = self._key()
            pieces += (plain_head(len(frame), key), apply_mask(frame, key))
        try:
            self.transport.write(b"".join(pieces))
            self._writes += 1
            if self.paused:
                await self.drain()
            elif self._writes % WRITES_PER_TURN == 0:
                await asyncio.sleep(0)  # a lost connection is reported in another turn of the loop
        except OSError as error:
            raise TransportClosedError(1006, "the connection was lost") from error

    def _key(self) -> bytes:
        """Return an unpredictable masking key (RFC 6455 10.3), without a system call for each."""
        for (key,) in self._keys:
            return key
        self._keys = struct.iter_unpack("4s", secrets.token_bytes(4 * KEYS))
        return self._key()


class WebSocketTransport:
    """A FrameTransport over a WebSocket."""

    def __init__(self, connection: LinkConnection) -> None:
        self._connection = connection
        tune_socket(connection.transport.get_extra_info("socket"))

    async def send(self, frames: Sequence[Frame]) -> None:
        await self._connection.write(frames)

    async def receive(self) -> Sequence[bytes]:
        try:
            return await self._connection.take()
        except TransportClosedError as error:
            if error.text == TEXT_MESSAGE:
                await self.close(CloseCode.VIOLATION, error.text)
            raise

    async def close(self, code: int, text: str) -> None:
        if code in (1005, 1006, 1015):  # RFC 6455 7.4.1: never sent
            code = CloseCode.DONE
        try:
            # the library's own deadline does not cover a full send buffer
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._connection.close(
                    code, text.encode()[:MAX_CLOSE_TEXT].decode("utf-8", "ignore")
                )
        except TimeoutError:
            pass
        finally:
            self._connection.transport.abort()


def _closed(error: ConnectionClosed) -> TransportClosedError:
    if error.rcvd is not None:
        return TransportClosedError(error.rcvd.code, error.rcvd.reason)
    if error.sent is not None:
        return TransportClosedError(error.sent.code, error.sent.reason)
    return TransportClosedError(1006, "the connection was lost")
