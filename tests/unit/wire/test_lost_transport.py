"""Nothing is written to a connection that is lost: asyncio warns of each such write."""

import asyncio
import datetime as dt
import logging
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from swallowtail.cloud.data_folder.certificates import server_context
from swallowtail.cloud.http.uvicorn_server import server_of
from swallowtail.cloud.links.asgi_transport import SHORT_WAY, AsgiFrames
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.connecting import connect
from swallowtail.wire.transport import SUBPROTOCOL, FrameTransport, TransportClosedError
from tests.certificates import ensure_certificate
from tests.rest.hostile import UPGRADE

WRITES = 300
LINGER = struct.pack("ii", 1, 0)
"""Close with a RST."""


async def send_many(transport: FrameTransport, frame: bytes) -> None:
    for _ in range(WRITES):
        await transport.send([frame])


@pytest.mark.parametrize("size", [100, 20_000])
async def test_link_stops_writing_to_a_lost_connection(
    size: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = server_context(*ensure_certificate(tmp_path, ["localhost"], dt.datetime.now(dt.UTC)))
    met: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def meet(connection: ServerConnection) -> None:
        met.put_nowait(connection)
        await connection.wait_closed()

    trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    async with serve(
        meet, "localhost", 0, ssl=context, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None
    ) as server:
        port = server.sockets[0].getsockname()[1]
        transport = await connect(
            f"wss://localhost:{port}/link", user_agent="test", ssl=trust, proxy=None
        )
        peer = await met.get()
        await transport.send([bytes(size)])
        raw = peer.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        peer.transport.abort()
        await peer.wait_closed()
        with caplog.at_level(logging.WARNING, "asyncio"), pytest.raises(TransportClosedError):
            await send_many(transport, bytes(size))
        await transport.close(1000, "")
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_cloud_stops_writing_to_a_lost_connection(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    reset: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = server_context(*ensure_certificate(tmp_path, ["localhost"], dt.datetime.now(dt.UTC)))
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    reported: list[type[BaseException]] = []

    async def main() -> None:
        connected, cut = asyncio.Event(), asyncio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            frames = AsgiFrames(
                receive, send, asyncio.get_running_loop(), scope["extensions"][SHORT_WAY]
            )
            connected.set()
            await cut.wait()
            try:
                await send_many(frames, bytes(1000))
            except TransportClosedError as error:
                reported.append(type(error))

        listening = socket.create_server(("127.0.0.1", 0))
        server = server_of(application, context)
        async with Tasks("test") as tasks:
            serving = tasks.spawn(server.serve(sockets=[listening]), name="server")
            port = listening.getsockname()[1]
            await asyncio.to_thread(
                upgrade_and_cut, port, trust, connected, asyncio.get_running_loop(), reset
            )
            cut.set()
            server.should_exit = True
            await serving

    with (
        caplog.at_level(logging.WARNING, "asyncio"),
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        runner.run(main())
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    assert reported


def upgrade_and_cut(
    port: int,
    trust: ssl.SSLContext,
    connected: asyncio.Event,
    loop: asyncio.AbstractEventLoop,
    reset: bool,
) -> None:
    """Be a client that is cut off in the middle of a session."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        secured.sendall(UPGRADE)
        assert secured.recv(4096).startswith(b"HTTP/1.1 101")
        asyncio.run_coroutine_threadsafe(connected.wait(), loop).result(10)
        if reset:
            secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
