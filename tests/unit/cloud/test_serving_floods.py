"""The Cloud's WebSocket against peers that know its library well."""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from swallowtail.cloud.certificates import ensure_certificate, server_context
from swallowtail.cloud.serving import server_of

MASK = bytes(4)
UPGRADE = (
    b"GET /link HTTP/1.1\r\nHost: cloud\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: aGVyb25oZXJvbmhlcm9uIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
FLOODS = {
    "pings whose pongs nobody reads": b"\x89\xfd" + MASK + bytes(125),
    "a message in endless pieces": b"\x00\x80" + MASK,
}


async def accept_and_wait(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[str, int]]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = server_of(accept_and_wait, server_context(*ensure_certificate(folder, ["127.0.0.1"], dt.datetime.now(dt.UTC))))
    serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        await serving


async def flood(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write for ever, and read nothing."""
    async with asyncio.timeout(20):
        while True:
            writer.write(data)
            await writer.drain()


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_ends_the_connection(name, tmp_path):
    async with running(tmp_path) as address:
        trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        reader, writer = await asyncio.open_connection(*address, ssl=trust, limit=1024)
        writer.write(UPGRADE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.transport.pause_reading()
        writer.write(b"\x02\x80" + MASK)
        with pytest.raises(ConnectionError):
            await flood(writer, FLOODS[name] * 2_000)
        writer.transport.abort()
