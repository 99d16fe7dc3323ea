"""A second listener protocol, as `docs/howto/add-a-listener-protocol.md` describes it.

A peer sends lines of text and gets each back. `registered` enters it into the two tables that the
page names; nothing else of the product is changed.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final

import pytest
from msgspec import Meta

from swallowtail.calls import config
from swallowtail.calls.document import ListenerSettings
from swallowtail.calls.responses import ResponseTable, Situation
from swallowtail.link import protocols
from swallowtail.link.endpoints import ListenerProtocol
from swallowtail.link.state import LinkState
from swallowtail.runtime.network import Listener, Network

NAME: Final = "line-echo"


class LineEchoListener(ListenerSettings, frozen=True, kw_only=True, tag=NAME):
    """A port on which Link returns lines."""

    prefix: Annotated[str, Meta(max_length=16)] = ""
    max_line: Annotated[int, Meta(ge=1, le=1024)] = 80

    def problems(self) -> Iterator[tuple[str, str]]:
        """Find what the types cannot forbid."""
        yield from super().problems()
        if len(self.prefix) >= self.max_line:
            yield "prefix", "is longer than a line may be; shorten it, or raise max_line"


@dataclass(frozen=True, slots=True)
class LineResponse:
    """A line, or none, and whether the connection is closed after it."""

    line: bytes = b""
    then_close: bool = False

    @property
    def text(self) -> str:
        """Return the response as a conformance statement describes it."""
        shown = f"line {self.line.decode()!r}" if self.line else "no line"
        return f"{shown}, then the connection is closed" if self.then_close else shown


RESPONSES: Final[ResponseTable] = {
    "line": {
        Situation.TOO_LARGE: LineResponse(b"too long", then_close=True),
        Situation.CLOUD_OFFLINE: LineResponse(then_close=True),
    }
}


class LineEchoServer:
    """What serves the connections of one listener."""

    def __init__(self, settings: LineEchoListener, state: LinkState) -> None:
        self.settings = settings
        self.state = state
        self.served: set[_Peer] = set()
        self.ended = asyncio.Event()
        self.ended.set()
        self._port: Listener | None = None

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self.served)

    async def open(self, network: Network, host: str, port: int) -> None:
        """Start to listen."""
        self._port = await network.listen(lambda: _Peer(self), host, port)

    async def close(self) -> None:
        """Stop listening; connections continue."""
        assert self._port is not None
        await self._port.close()

    def update(self, settings: LineEchoListener) -> None:
        """Apply new settings, from the next line on."""
        self.settings = settings

    async def drain(self, limit: float, *, stopping: bool) -> None:
        """Return when all connections have ended; after `limit` seconds they are aborted."""
        if stopping:
            for peer in list(self.served):
                peer.transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self.ended.wait()
        for peer in list(self.served):
            peer.transport.abort()


class _Peer(asyncio.Protocol):
    def __init__(self, server: LineEchoServer) -> None:
        self._server = server
        self._line = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.served.add(self)
        self._server.ended.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.served.discard(self)
        if not self._server.served:
            self._server.ended.set()

    def data_received(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._respond(line)
        if len(self._line) > self._server.settings.max_line:
            self._respond(self._line)

    def _respond(self, line: bytes) -> None:
        settings = self._server.settings
        if len(line) > settings.max_line:
            self._refuse(Situation.TOO_LARGE)
        elif self._server.state.session() is None:
            self._refuse(Situation.CLOUD_OFFLINE)
        else:
            self.transport.write(settings.prefix.encode() + line + b"\n")

    def _refuse(self, situation: Situation) -> None:
        response = RESPONSES["line"][situation]
        assert isinstance(response, LineResponse)
        if response.line:
            self.transport.write(response.line + b"\n")
        self.transport.close()


def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter the protocol into the tables, for one test."""
    monkeypatch.setitem(config.LISTENERS, NAME, LineEchoListener)
    monkeypatch.setitem(protocols.PROTOCOLS, NAME, ListenerProtocol(LineEchoServer, RESPONSES))
