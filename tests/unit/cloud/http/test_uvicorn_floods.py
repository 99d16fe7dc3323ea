"""The Cloud's WebSocket against peers that know its library well."""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from swallowtail.cloud.data_folder.certificates import server_context
from swallowtail.cloud.http.link_websocket import HELLO_BYTES, HELLO_FRAMES, MAX_QUEUED
from swallowtail.cloud.http.uvicorn_server import server_of
from swallowtail.cloud.links.asgi_transport import SHORT_WAY
from swallowtail.wire.reasons import CloseCode
from tests.certificates import ensure_certificate

MASK = bytes(4)
UPGRADE = (
    b"GET /link HTTP/1.1\r\nHost: cloud\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: aGVyb25oZXJvbmhlcm9uIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
FLOODS = {
    "pings whose pongs nobody reads": b"\x89\xfd" + MASK + bytes(125),
    "a message in endless pieces": b"\x00\x80" + MASK,
}
MESSAGE = b"\x82\x81" + MASK + b"x"


class Application:
    """Accepts a WebSocket, as `/link` does, and keeps what comes."""

    def __init__(self, *, admits):
        self.admits, self.reported = admits, asyncio.Event()
        self.messages, self.most = [], 0

    async def __call__(self, scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        short = scope["extensions"][SHORT_WAY]
        if self.admits:
            short.admit()
        while True:
            message = await short.receive()
            self.most = max(self.most, short.queue.qsize())
            if message["type"] == "websocket.disconnect":
                self.messages.append((message["code"], message.get("reason", "")))
                self.reported.set()
                return
            self.messages.append(message["bytes"])


@contextlib.asynccontextmanager
async def running(folder: Path, application) -> AsyncIterator[tuple[str, int]]:
    listening = socket.create_server(("127.0.0.1", 0))
    context = server_context(*ensure_certificate(folder, ["127.0.0.1"], dt.datetime.now(dt.UTC)))
    server = server_of(application, context)
    serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        await serving


async def upgraded(address, folder: Path, after=b""):
    trust = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    reader, writer = await asyncio.open_connection(*address, ssl=trust, limit=1024)
    writer.write(UPGRADE)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


async def flood_to_its_end(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes
) -> None:
    """Write until the server ends the connection, which asyncio shows as one of two."""
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(0)  # after an EOF `drain` does not wait
    writer.transport.abort()


@pytest.mark.parametrize("admits", [True, False])
@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_ends_the_connection(name, admits, tmp_path):
    async with running(tmp_path, Application(admits=admits)) as address:
        reader, writer = await upgraded(address, tmp_path)
        writer.transport.pause_reading()
        writer.write(b"\x02\x80" + MASK)
        await flood_to_its_end(reader, writer, FLOODS[name] * 2_000)


async def test_before_the_hello_a_few_frames_are_taken_and_then_the_connection_is_closed(
    tmp_path,
):
    application = Application(admits=False)
    async with running(tmp_path, application) as address:
        reader, writer = await upgraded(address, tmp_path)
        writer.write(MESSAGE * 1_000)
        async with asyncio.timeout(5):
            await application.reported.wait()
            with contextlib.suppress(ConnectionError):
                closed = await reader.read()
                assert closed.startswith(b"\x88")
                assert int.from_bytes(closed[2:4], "big") == CloseCode.LIMIT
                assert b"before the hello" in closed
        assert application.messages[:-1] == [b"x"] * HELLO_FRAMES
        assert application.messages[-1][0] == CloseCode.LIMIT
        writer.transport.abort()


async def test_before_the_hello_bytes_are_limited_too(tmp_path):
    application = Application(admits=False)
    async with running(tmp_path, application) as address:
        reader, writer = await upgraded(address, tmp_path)
        await flood_to_its_end(
            reader, writer, b"\x82\xff" + (65_536).to_bytes(8, "big") + MASK + bytes(65_536)
        )
        assert sum(len(message) for message in application.messages[:-1]) <= HELLO_BYTES


async def test_after_the_hello_nothing_is_lost_and_little_waits_for_the_session(tmp_path):
    application = Application(admits=True)
    async with running(tmp_path, application) as address:
        _, writer = await upgraded(address, tmp_path)
        writer.write(MESSAGE * 50_000 + b"\x88\x82" + MASK + b"\x03\xe8")
        async with asyncio.timeout(20):
            await application.reported.wait()
        assert application.messages == [b"x"] * 50_000 + [(1000, "")]
        assert application.most <= MAX_QUEUED
        writer.transport.abort()


async def test_bytes_before_the_answer_to_the_upgrade_end_the_connection(tmp_path):
    async def slow(_scope, receive, _send):
        await receive()
        assert (await receive())["type"] == "websocket.disconnect"

    async with running(tmp_path, slow) as address:
        trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        reader, writer = await asyncio.open_connection(*address, ssl=trust)
        writer.write(UPGRADE)
        await flood_to_its_end(reader, writer, MESSAGE * 1_000)
