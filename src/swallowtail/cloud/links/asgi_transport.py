"""The Cloud's end of a WebSocket as a FrameTransport.

ASGI messages in and out, or a shorter way where the server offers one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from starlette.types import Receive, Send
from uvicorn.protocols.utils import ClientDisconnected

from swallowtail.wire.frames import Frame
from swallowtail.wire.reasons import CloseCode
from swallowtail.wire.transport import WRITES_PER_TURN, TransportClosedError

MAX_CLOSE_TEXT: Final = 123  # RFC 6455 5.5
CLOSE_SECONDS: Final = 3.0
SHORT_WAY: Final = "swallowtail.frames"
"""The name of a ShortWay among the scope's extensions."""
NEVER_SENT: Final = frozenset({1005, 1006, 1015})  # RFC 6455 7.4.1


class Loop(Protocol):
    """The clock of a connection."""

    def time(self) -> float: ...


class ShortWay(Protocol):
    """An extension of the ASGI scope that passes messages without copies.

    Its messages without the layers and copies between.
    """

    queue: asyncio.Queue[Any]
    """The messages that came, as `receive` would give them."""
    writable: asyncio.Event
    """Whether little is unsent (wire §6)."""

    def write_frames(self, frames: Sequence[Frame]) -> None:
        """Send messages in one write; raises ClientDisconnected."""

    async def receive(self) -> Any:
        """Return the next message."""

    def admit(self) -> None:
        """End the limits that hold until the hello is accepted."""


class AsgiFrames:
    """Carries whole messages over an accepted WebSocket.

    `proven` is when the last one came, on the loop's clock.
    """

    def __init__(
        self, receive: Receive, send: Send, loop: Loop, short: ShortWay | None = None
    ) -> None:
        self._receive: Callable[[], Awaitable[Any]] = receive if short is None else short.receive
        self._send, self._loop, self._short = send, loop, short
        self._closed: TransportClosedError | None = None
        self._writes = 0
        self.proven = loop.time()

    def admit(self) -> None:
        """End the server's limits for connections without an accepted hello."""
        if self._short is not None:
            self._short.admit()

    async def send(self, frames: Sequence[Frame]) -> None:
        """Send messages (`FrameTransport`).

        The server holds this until at most UNSENT_LIMIT bytes wait below (wire §6).
        """
        if self._closed is not None:
            raise self._closed
        try:
            if self._short is None:
                for frame in frames:
                    await self._send({"type": "websocket.send", "bytes": frame})
            else:
                self._short.write_frames(frames)
                self._writes += 1
                if not self._short.writable.is_set():
                    await self._short.writable.wait()
                elif self._writes % WRITES_PER_TURN == 0:
                    await asyncio.sleep(0)
        except (ClientDisconnected, RuntimeError) as error:
            raise self._lost() from error

    async def receive(self) -> Sequence[bytes]:
        """Wait for binary messages (`FrameTransport`)."""
        if self._closed is not None:
            raise self._closed
        messages = [await self._read(await self._receive())]
        while self._short is not None and not self._short.queue.empty():
            try:
                messages.append(await self._read(self._short.queue.get_nowait()))
            except TransportClosedError:
                break  # reported at the next call
        return messages

    async def _read(self, message: Any) -> bytes:
        if message["type"] == "websocket.receive" and message.get("bytes") is not None:
            self.proven = self._loop.time()
            data: bytes = message["bytes"]
            return data
        if message["type"] == "websocket.disconnect":
            self._closed = TransportClosedError(
                message.get("code", 1006), message.get("reason") or ""
            )
            raise self._closed
        await self.close(CloseCode.VIOLATION, "a text message (wire §1)")
        raise self._lost()

    async def close(self, code: int, text: str) -> None:
        """Close, reporting the peer why.

        The rest of the closing handshake has its own deadline in uvicorn.
        """
        if self._closed is not None:
            return
        self._closed = TransportClosedError(code, text)
        reason = text.encode()[:MAX_CLOSE_TEXT].decode("utf-8", "ignore")
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send(
                    {
                        "type": "websocket.close",
                        "code": CloseCode.DONE if code in NEVER_SENT else code,
                        "reason": reason,
                    }
                )
        except (ClientDisconnected, RuntimeError, TimeoutError):
            # it is closed already, or the peer takes nothing more: the connection is dropped when
            # this request ends
            return

    def _lost(self) -> TransportClosedError:
        if self._closed is None:
            self._closed = TransportClosedError(1006, "the connection was lost")
        return self._closed
