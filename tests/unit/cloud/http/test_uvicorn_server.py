"""Request heads are bounded in time and size.

The protocol on loopback, without TLS, before an application of one line.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from swallowtail.cloud.http import uvicorn_server
from swallowtail.cloud.http.uvicorn_server import MAX_HEAD, BoundedHttp


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        continue
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(uvicorn_server, "HEAD_DEADLINE", 0.3)
    config, state = uvicorn.Config(application, log_config=None, lifespan="off"), ServerState()
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedHttp(config, state, {}), "127.0.0.1", 0
    )
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def until_closed(port: int, *pieces: bytes) -> bytes:
    """Send, then read until the server ends the connection; gives what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HT"])
async def test_a_head_that_does_not_end_is_cut_off(port: int, start: bytes) -> None:
    assert await until_closed(port, start) == b""


async def test_a_second_head_that_does_not_end_is_cut_off_too(port: int) -> None:
    answer = await until_closed(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost:")
    assert answer.count(b"HTTP/1.1 200") == 1


async def test_a_head_that_is_too_long_is_cut_off(port: int) -> None:
    header = b"X: " + b"x" * 4000 + b"\r\n"
    assert await until_closed(port, b"GET / HTTP/1.1\r\n", *[header] * (MAX_HEAD // 1000)) == b""


async def test_a_long_body_is_not_a_long_head(port: int) -> None:
    body = bytes(10 * MAX_HEAD)
    lines = ("PUT / HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}")
    head = "".join(f"{line}\r\n" for line in (*lines, "")).encode()
    assert (await until_closed(port, head + body)).startswith(b"HTTP/1.1 200")
