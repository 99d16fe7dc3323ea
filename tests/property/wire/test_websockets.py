"""Both ends of a WebSocket, from the upgrade on.

Bytes in whatever pieces give the same messages, and reading goes on.
"""

import asyncio
import itertools
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from swallowtail.cloud.http.link_websocket import LinkWebSocket
from swallowtail.cloud.links.asgi_transport import SHORT_WAY
from swallowtail.wire.frames import MAX_FRAME
from swallowtail.wire.transport import SUBPROTOCOL, UNSENT_LIMIT, TransportClosedError
from swallowtail.wire.websocket import LinkConnection, WebSocketTransport, tune_socket
from tests.modes import amount

CONTENTS = [b"", b"x", bytes(125), bytes(126), b"y" * 3_000, bytes(MAX_FRAME), b"z", b"last"]
SEEDS = range(amount(12, 300))


class Transport(asyncio.Transport):
    """Keeps what is written, and whether reading is paused."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(
            {"socket": sock, "sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)}
        )
        self.written = bytearray()
        self.closing = False
        self.reading = asyncio.Event()
        self.reading.set()
        self.headed = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        if b"\r\n\r\n" in self.written:
            self.headed.set()

    def pause_reading(self) -> None:
        self.reading.clear()

    def resume_reading(self) -> None:
        self.reading.set()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as made:
        yield made


def pieces(stream: bytes, random_source: random.Random) -> Iterator[bytes]:
    """Cut a stream: at a few places, or into small pieces at its start, where the heads are."""
    count = random_source.choice((0, 3, 40))
    cuts = {random_source.randrange(len(stream)) for _ in range(count)} | {
        random_source.randrange(400) for _ in range(count)
    }
    for start, end in itertools.pairwise([0, *sorted(cuts), len(stream)]):
        if piece := stream[start:end]:  # a transport never gives nothing
            yield piece


def messages(*, mask: bool, random_source: random.Random) -> bytes:
    """Frame the contents.

    Some are fragmented, and pings stand between them, which a peer of ours never does.
    """
    stream = bytearray()
    for content in CONTENTS:
        if random_source.random() < 0.2:
            stream += Frame(Opcode.PING, b"are you there").serialize(mask=mask)
        if random_source.random() < 0.3:
            cut = random_source.randint(0, len(content))
            stream += Frame(Opcode.BINARY, content[:cut], False).serialize(mask=mask)
            stream += Frame(Opcode.CONT, content[cut:], True).serialize(mask=mask)
        else:
            stream += Frame(Opcode.BINARY, content).serialize(mask=mask)
    return bytes(stream)


@pytest.mark.parametrize("seed", SEEDS)
async def test_link_hears_the_same_in_whatever_pieces(sock: socket.socket, seed: int) -> None:
    random_source = random.Random(seed)
    protocol = ClientProtocol(
        parse_uri("ws://cloud/link"), subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=MAX_FRAME
    )
    connection = LinkConnection(protocol, ping_interval=None)
    transport = Transport(sock)
    connection.connection_made(transport)
    request = protocol.connect()
    protocol.send_request(request)
    server = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
    server.receive_data(b"".join(protocol.data_to_send()))
    (asked,) = server.events_received()
    server.send_response(server.accept(asked))  # type: ignore[arg-type]
    stream = b"".join(server.data_to_send()) + messages(mask=False, random_source=random_source)
    responses: list[bytes] = []
    link = WebSocketTransport(connection)
    for piece in pieces(stream, random_source):
        connection.data_received(piece)
        if random_source.random() < 0.5 and connection._received:
            responses += await link.receive()
    while connection._received:
        responses += await link.receive()
    assert responses == CONTENTS
    assert transport.reading.is_set(), "Link pauses the WebSocket (wire §1)"
    connection.connection_lost(None)
    with pytest.raises(TransportClosedError):
        await link.receive()


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_cloud_hears_the_same_in_whatever_pieces_and_compresses_nothing(
    sock: socket.socket, seed: int
) -> None:
    random_source = random.Random(seed)
    responses: list[bytes] = []
    done = asyncio.Event()

    expected = CONTENTS * random_source.choice((1, 40))

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        scope["extensions"][SHORT_WAY].admit()
        while len(responses) < len(expected):
            responses.append((await receive())["bytes"])
        done.set()
        await receive()  # the end; without it uvicorn closes the transport

    config = uvicorn.Config(
        application,
        log_config=None,
        lifespan="off",
        ws_max_size=MAX_FRAME,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
    config.load()
    cloud = LinkWebSocket(config, ServerState(), {})
    transport = Transport(sock)
    cloud.connection_made(transport)
    upgrade = (
        b"GET /link HTTP/1.1\r\nHost: cloud\r\nUpgrade: websocket\r\nConnection:"
        b" Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key:"
        b" aGVyb25oZXJvbmhlcm9uIQ==\r\nSec-WebSocket-Protocol: "
        + SUBPROTOCOL.encode()
        + b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    for piece in pieces(upgrade, random_source):
        cloud.data_received(piece)
    async with asyncio.timeout(5):
        await transport.headed.wait()
    head = bytes(transport.written).partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 101")
    assert b"sec-websocket-extensions" not in head
    stream = b"".join(
        messages(mask=True, random_source=random_source)
        for _ in range(len(expected) // len(CONTENTS))
    )
    async with asyncio.timeout(20):
        for piece in pieces(stream, random_source):
            await transport.reading.wait()  # as a socket does
            cloud.data_received(piece)
        await done.wait()
        await transport.reading.wait()
    assert responses == expected
    cloud.connection_lost(None)


@pytest.mark.skipif(
    not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="Linux alone says how little may be unsent"
)
def test_little_waits_in_the_kernel(sock: socket.socket) -> None:
    tune_socket(sock)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_LIMIT
