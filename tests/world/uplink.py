"""The uplink's transport in the world.

Whole messages over a simulated connection, as `wire.transport.FrameTransport` promises.

It stands where the WebSocket stands. A message is four bytes of length and its bytes; a close is a
message with the top bit set, its code and its text. Everything that can happen to a connection
happens to it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from swallowtail.wire.connecting import ConnectError
from swallowtail.wire.frames import Frame
from swallowtail.wire.transport import UNSENT_LIMIT, TransportClosedError
from swallowtail.wire.websocket import CLOSE_SECONDS
from tests.world.network import Host

CLOSE: Final = 1 << 31
LOST: Final = 1006
OPEN_SECONDS: Final = 15.0


class SimulatedUplink(asyncio.Protocol):
    """One end of the uplink."""

    def __init__(self, on_connected: Callable[["SimulatedUplink"], None] | None = None) -> None:
        self.peer: tuple[str, int] = ("", 0)
        self.transport: Any = None
        self.proven = asyncio.get_running_loop().time()
        self._loop = asyncio.get_running_loop()
        self._on_connected = on_connected
        self._unread = bytearray()
        self._messages: list[bytes] = []
        self._closed: tuple[int, str] | None = None
        self._ended = asyncio.Event()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    # FrameTransport

    async def send(self, frames: Sequence[Frame]) -> None:
        """Send messages; returns when at most UNSENT_LIMIT bytes wait below."""
        self._check()
        self.transport.write(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))
        await self._room.wait()
        self._check()

    async def receive(self) -> Sequence[bytes]:
        """Wait for messages."""
        while not self._messages:
            self._check()
            self._arrived.clear()
            await self._arrived.wait()
        messages, self._messages = self._messages, []
        return messages

    async def close(self, code: int, text: str) -> None:
        """Close, telling the peer why; returns within a few seconds, whatever the peer does."""
        if self._closed is None:
            body = code.to_bytes(2, "big") + text.encode()
            self.transport.write((CLOSE | len(body)).to_bytes(4, "big") + body)
            self._end(code, text)
        self.transport.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            self.transport.abort()

    def _check(self) -> None:
        if self._closed is not None:
            raise TransportClosedError(*self._closed)

    def _end(self, code: int, text: str) -> None:
        self._closed = self._closed or (code, text)
        self._arrived.set()
        self._room.set()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.peer = transport.get_extra_info("peername")
        transport.set_write_buffer_limits(high=UNSENT_LIMIT, low=UNSENT_LIMIT // 2)
        if self._on_connected is not None:
            self._on_connected(self)

    def data_received(self, data: bytes) -> None:
        self.proven = self._loop.time()
        self._unread += data
        while len(self._unread) >= 4:
            head = int.from_bytes(self._unread[:4], "big")
            end = 4 + (head & ~CLOSE)
            if len(self._unread) < end:
                return
            body = bytes(self._unread[4:end])
            del self._unread[:end]
            if head & CLOSE:
                self._end(int.from_bytes(body[:2], "big"), body[2:].decode())
                self.transport.close()
                return
            self._messages.append(body)
            self._arrived.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(LOST, "the connection was lost")
        self._ended.set()


async def connect(host: Host, address: str, port: int) -> SimulatedUplink:
    """Connect from a Link's machine to the Cloud's.

    Raises ConnectError as the real connector does.
    """
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            _, uplink = await host.connect(SimulatedUplink, address, port)
    except OSError as error:
        absent = isinstance(error, ConnectionRefusedError)
        raise ConnectError(
            "network", f"no connection to {address}: {error}", absent=absent
        ) from error
    return uplink


async def serve(
    host: Host,
    address: str,
    port: int,
    on_connection: Callable[[SimulatedUplink], Awaitable[None]],
    spawn: Any,
) -> None:
    """Let `on_connection` run, spawned as a task of its own, for every Link that connects."""

    def accepted() -> SimulatedUplink:
        return SimulatedUplink(lambda uplink: spawn(on_connection(uplink), name="uplink"))

    await host.listen(accepted, address, port)
