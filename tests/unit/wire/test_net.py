"""The shell over a pipe in memory, and over real TLS WebSockets on loopback."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import os
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.wire.channel import Data, End, Message
from swallowtail.wire.connecting import ConnectError, connect
from swallowtail.wire.control import GoodbyeReason, RefuseReason
from swallowtail.wire.failures import ChannelResetError, RefusedError, SessionClosedError
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.net import Session
from swallowtail.wire.reasons import CloseCode, ResetReason
from swallowtail.wire.session import SessionMachine
from swallowtail.wire.transport import SUBPROTOCOL, TransportClosedError
from tests.unit.wire.pair import cloud_hello, link_hello


class Pipe:
    """One end of a pretend WebSocket; `stuck` lets nothing more through, as a dead network does."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[bytes | tuple[int, str]] = asyncio.Queue()
        self.peer: Pipe | None = None
        self.closed: tuple[int, str] | None = None
        self.stuck = False

    async def send(self, frames) -> None:
        if self.closed:
            raise TransportClosedError(*self.closed)
        if self.stuck:
            await asyncio.Event().wait()
        for frame in frames:
            self.peer.inbox.put_nowait(bytes(frame))

    async def receive(self) -> list[bytes]:
        item = await self.inbox.get()
        if isinstance(item, tuple):
            self.closed = item
            raise TransportClosedError(*item)
        return [item]

    async def close(self, code: int, text: str) -> None:
        if not self.closed:
            self.closed = (int(code), text)
            self.inbox.put_nowait(self.closed)
            if not self.stuck:
                self.peer.inbox.put_nowait(self.closed)


class Server:
    """The other end of a WebSocket, by the library alone."""

    def __init__(self, connection) -> None:
        self.connection = connection

    async def send(self, frames) -> None:
        try:
            for frame in frames:
                await self.connection.send(frame)
        except ConnectionClosed as error:
            raise TransportClosedError(1006, "") from error

    async def receive(self) -> list[bytes]:
        try:
            return [await self.connection.recv()]
        except ConnectionClosed as error:
            raise TransportClosedError(error.rcvd.code, error.rcvd.reason) from error

    async def close(self, code: int, text: str) -> None:
        await self.connection.close(code, text)


def pipes() -> tuple[Pipe, Pipe]:
    one, two = Pipe(), Pipe()
    one.peer, two.peer = two, one
    return one, two


@contextlib.asynccontextmanager
async def joined(link_end=None, cloud_end=None, *, cloud=None, **welcome):
    if link_end is None:
        link_end, cloud_end = pipes()
    now = asyncio.get_running_loop().time()
    async with (
        Session(SessionMachine(link_hello(), now=now), link_end, name="link") as link,
        Session(SessionMachine(cloud or cloud_hello(), now=now), cloud_end, name="cloud") as other,
    ):
        assert (await other.hello()).proved
        other.welcome(**({"session": b"s" * 16, "epoch": 7, "time": 2.5} | welcome))
        assert (await link.hello_accepted()).epoch == 7
        yield link, other


async def accept(session):
    async for channel in session.opened():
        return channel
    raise AssertionError("no channel was opened")


async def read_all(channel) -> tuple[bytes, list[bytes]]:
    body, messages = bytearray(), []
    while True:
        match await channel.receive():
            case Data(view):
                body += view
                channel.consumed(len(view))
            case Message(message):
                messages.append(message)
            case End():
                return bytes(body), messages


async def store(link, cloud, body: bytes) -> None:
    ours = await link.open("store", b"request", ChannelPriority.BULK)
    theirs = await accept(cloud)
    assert (theirs.opening.call, theirs.opening.body) == ("store", b"request")
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read_all(theirs))
        await ours.send(memoryview(body))
        await ours.message(b"end", fin=True)
        got, messages = await reading
        assert got == body
        assert messages == [b"end"]
        await theirs.message(b"answer", fin=True)
        assert await ours.receive() == Message(b"answer")
        assert await ours.receive() == End() == await ours.receive()
    assert not link._channels
    assert not cloud._channels


async def test_a_body_larger_than_every_window_arrives_and_is_answered():
    async with joined() as (link, cloud):
        await store(link, cloud, os.urandom(12_000_000))
        assert 0 <= await link.echo() < 5
    assert (await link.closed).code == (await cloud.closed).code == CloseCode.DONE


async def test_a_sender_without_credit_waits_and_can_be_cancelled():
    async with joined() as (link, cloud):
        ours = await link.open("store", b"r", ChannelPriority.BULK)
        theirs = await accept(cloud)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ours.send(memoryview(bytes(3_000_000)))
        assert ours.send_nowait(memoryview(b"x")) == 0
        event = await theirs.receive()
        theirs.consumed(len(event.view))
        await link.echo()
        assert ours.send_nowait(memoryview(b"x")) == 1


async def test_flush_lets_a_small_piece_leave():
    async with joined() as (link, cloud):
        ours = await link.open("store", b"r", ChannelPriority.INTERACTIVE)
        await ours.send(memoryview(b"small"))
        ours.flush()
        theirs = await accept(cloud)
        assert (await theirs.receive()).view == b"small"


async def test_reset_reaches_the_peer_s_reader_and_writer_and_our_own():
    async with joined() as (link, cloud):
        ours = await link.open("store", b"r", ChannelPriority.BULK)
        theirs = await accept(cloud)
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(collect(theirs.receive()))
            writer = group.create_task(collect(theirs.send(memoryview(bytes(200_000)))))
            own = group.create_task(collect(ours.receive()))
            await asyncio.sleep(0)
            ours.reset(ResetReason.DEADLINE, "no answer in 25 s")
        for task in (reader, writer, own):
            error = task.result()
            assert isinstance(error, ChannelResetError)
            assert (error.reason, error.text) == (ResetReason.DEADLINE, "no answer in 25 s")
        with pytest.raises(ChannelResetError):
            theirs.finish()
        assert not link._channels
        assert not cloud._channels


async def collect(work):
    try:
        return await work
    except (ChannelResetError, SessionClosedError) as error:
        return error


async def test_a_channel_that_was_reset_before_anyone_took_it_is_not_given_out():
    async with joined() as (link, cloud):
        (await link.open("one", b"r", ChannelPriority.BULK)).reset(ResetReason.CANCELLED)
        await link.open("two", b"r", ChannelPriority.BULK)
        await link.echo()
        assert (await accept(cloud)).opening.call == "two"


async def test_open_waits_for_a_place():
    async with joined(cloud=cloud_hello(channels=2)) as (link, cloud):
        first = await link.open("one", b"", ChannelPriority.BULK, fin=True)
        await link.open("two", b"", ChannelPriority.BULK)
        async with asyncio.TaskGroup() as group:
            third = group.create_task(link.open("three", b"", ChannelPriority.BULK))
            await link.echo()
            assert not third.done()
            (await accept(cloud)).finish()
            assert await first.receive() == End()
            assert (await third).opening.call == "three"
        assert cloud.machine.closing is None


async def test_a_place_that_our_own_last_frame_frees_is_given_at_once():
    async with joined(cloud=cloud_hello(channels=1)) as (link, cloud):
        ours = await link.open("one", b"", ChannelPriority.BULK)
        (await accept(cloud)).finish()
        assert await ours.receive() == End()
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            second = group.create_task(link.open("two", b"", ChannelPriority.BULK))
            await asyncio.sleep(0)
            assert not second.done()
            ours.finish()
        assert second.result().opening.call == "two"


async def test_everything_that_waits_hears_that_the_connection_is_lost():
    link_end, cloud_end = pipes()
    async with joined(link_end, cloud_end) as (link, _):
        ours = await link.open("store", b"r", ChannelPriority.BULK)
        await link.echo()
        cloud_end.stuck = True
        async with asyncio.TaskGroup() as group:
            waiting = [
                group.create_task(collect(work))
                for work in (ours.receive(), ours.send(memoryview(bytes(9_000_000))), link.echo())
            ]
            link_end.inbox.put_nowait((1006, "cut"))
        assert [type(task.result()) for task in waiting] == [
            ChannelResetError,
            ChannelResetError,
            SessionClosedError,
        ]
        assert waiting[0].result().reason is ResetReason.SESSION_LOST
        assert (await link.closed)[:2] == (1006, "cut")
        with pytest.raises(SessionClosedError, match="1006"):
            await link.open("more", b"", ChannelPriority.BULK)
        assert [channel async for channel in link.opened()] == []


async def test_silence_closes_a_session_even_when_the_transport_is_stuck():
    link_end, cloud_end = pipes()
    async with joined(link_end, cloud_end, echo_after=0.05, dead_after=0.15) as (link, cloud):
        ours = await link.open("store", b"r", ChannelPriority.BULK)
        link_end.stuck = cloud_end.stuck = True
        with pytest.raises(ChannelResetError, match="SESSION_LOST"):
            await ours.send(memoryview(bytes(9_000_000)))
        assert (await link.closed).code == (await cloud.closed).code == CloseCode.DEADLINE
    assert link_end.closed[0] == CloseCode.DEADLINE


async def test_an_idle_session_lives_by_its_echoes():
    async with joined(echo_after=0.02, dead_after=0.06) as (link, cloud):
        await asyncio.wait([link.closed, cloud.closed], timeout=0.3)
        assert not link.closed.done()
        assert not cloud.closed.done()


async def test_a_refused_link_hears_why_and_when_to_come_again():
    link_end, cloud_end = pipes()
    now = asyncio.get_running_loop().time()
    async with (
        Session(SessionMachine(link_hello(), now=now), link_end) as link,
        Session(SessionMachine(cloud_hello(), now=now), cloud_end) as cloud,
    ):
        await cloud.hello()
        cloud.refuse(RefuseReason.CODE, "not known", retry_after=30)
        with pytest.raises(RefusedError, match=r"code.*not known") as caught:
            await link.hello_accepted()
        assert caught.value.refuse.retry_after == 30
        assert (await link.closed).code == (await cloud.closed).code == CloseCode.REFUSED


async def test_a_link_that_went_while_the_cloud_decided_is_a_closed_session():
    link_end, cloud_end = pipes()
    now = asyncio.get_running_loop().time()
    async with Session(SessionMachine(cloud_hello(), now=now), cloud_end) as cloud:
        async with Session(SessionMachine(link_hello(), now=now), link_end):
            await cloud.hello()
        await cloud.closed
        for decide in (
            lambda: cloud.welcome(session=b"s" * 16, epoch=1, time=0.0),
            lambda: cloud.refuse(RefuseReason.BUSY),
        ):
            with pytest.raises(SessionClosedError):
                decide()


async def test_goodbye_lets_what_runs_end():
    async with joined() as (link, cloud):
        ours = await link.open("store", b"r", ChannelPriority.BULK)
        theirs = await accept(cloud)
        cloud.goodbye(GoodbyeReason.DRAINING, detail="update", retry_after=3.0)
        with pytest.raises(LocalProtocolError):
            await cloud.open("more", b"", ChannelPriority.BULK)
        await ours.message(b"last", fin=True)
        assert await theirs.receive() == Message(b"last")
        await theirs.message(b"answer", fin=True)
        assert await ours.receive() == Message(b"answer")
        assert (await link.closed)[:2] == (CloseCode.DONE, "draining")
        assert (link.peer_goodbye.reason, link.peer_goodbye.retry_after) == ("draining", 3.0)


async def test_a_peer_that_breaks_the_rules_is_closed_with_the_code_and_the_text():
    link_end, cloud_end = pipes()
    async with joined(link_end, cloud_end) as (link, cloud):
        await cloud_end.peer.send([b""])  # no frame
        close = await cloud.closed
        assert close.code == CloseCode.VIOLATION
        assert "wire §2" in close.text
        assert (await link.closed) == (close.code, close.text, True)


async def test_an_error_in_the_owner_s_block_closes_with_1011():
    with pytest.raises(ZeroDivisionError):
        async with joined() as (link, cloud):
            raise ZeroDivisionError
    assert (await cloud.closed).code == CloseCode.INTERNAL
    assert (await link.closed).code == CloseCode.INTERNAL


async def test_a_bug_in_the_transport_ends_the_session(logged_errors):
    link_end, cloud_end = pipes()
    async with joined(link_end, cloud_end) as (link, cloud):
        link_end.inbox.put_nowait(None)  # no transport gives this
        assert (await link.closed).code == CloseCode.INTERNAL
        assert (await cloud.closed).code == CloseCode.INTERNAL
    assert any("task failed" in text for text in logged_errors)


# Over real WebSockets


def certificate(folder) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate for 127.0.0.1.

    Give the server's context and that of a client that trusts it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "test.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


@contextlib.asynccontextmanager
async def listening(tls, handler, **options):
    fields = {"compression": None, "subprotocols": [SUBPROTOCOL], "ping_interval": None}
    async with serve(handler, "127.0.0.1", 0, ssl=tls, **(fields | options)) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_session_over_tls(tmp_path):
    tls, trust = certificate(tmp_path)
    done = asyncio.Event()
    ends = asyncio.Queue()

    async def handler(connection):
        ends.put_nowait(Server(connection))
        await done.wait()

    async with listening(tls, handler, write_limit=131072) as port:
        transport = await connect(
            f"wss://127.0.0.1:{port}/link", user_agent="swallowtail-link/1.0", ssl=trust, proxy=None
        )
        async with joined(transport, await ends.get()) as (link, cloud):
            await store(link, cloud, os.urandom(8_000_000))
            await store(cloud, link, os.urandom(100_000))
            cloud.goodbye(GoodbyeReason.REPLACED)
            assert (await link.closed)[:2] == (CloseCode.REPLACED, "replaced")
            assert (await cloud.closed).code == CloseCode.REPLACED
        done.set()


async def test_no_compression_is_asked_for_and_no_ping_is_sent():
    asked = asyncio.Queue()

    async def handler(connection):
        asked.put_nowait(connection.request.headers)
        await connection.wait_closed()

    async with listening(None, handler, compression="deflate") as port:
        transport = await connect(
            f"ws://127.0.0.1:{port}/link", user_agent="swallowtail-link/1.0", proxy=None
        )
        headers = await asked.get()
        assert "Sec-WebSocket-Extensions" not in headers
        assert (headers["Sec-WebSocket-Protocol"], headers["User-Agent"]) == (
            SUBPROTOCOL,
            "swallowtail-link/1.0",
        )
        assert transport._connection.keepalive_task is None
        await transport.close(1000, "")


async def test_a_text_message_is_a_violation(tmp_path):
    tls, trust = certificate(tmp_path)
    closes = asyncio.Queue()

    async def handler(connection):
        await connection.send("text")
        await connection.wait_closed()
        closes.put_nowait((connection.close_code, connection.close_reason))

    async with listening(tls, handler) as port:
        transport = await connect(f"wss://127.0.0.1:{port}/", user_agent="x", ssl=trust, proxy=None)
        with pytest.raises(TransportClosedError, match="text"):
            await transport.receive()
        assert (await closes.get())[0] == CloseCode.VIOLATION


async def test_pings_whose_pongs_nobody_reads_end_the_connection():
    async def handler(connection):
        connection.transport.pause_reading()
        connection.transport.write(
            (b"\x89\x7d" + bytes(125)) * 120_000
        )  # more than the kernel takes
        await connection.wait_closed()

    async with listening(None, handler) as port:
        transport = await connect(f"ws://127.0.0.1:{port}/", user_agent="x", proxy=None)
        with pytest.raises(TransportClosedError):
            await transport.receive()


async def test_a_message_that_is_too_long_closes_with_1009(tmp_path):
    tls, trust = certificate(tmp_path)

    async def handler(connection):
        await connection.send(bytes(65_537))
        await connection.wait_closed()

    async with listening(tls, handler) as port:
        transport = await connect(f"wss://127.0.0.1:{port}/", user_agent="x", ssl=trust, proxy=None)
        with pytest.raises(TransportClosedError) as caught:
            await transport.receive()
        assert caught.value.code == CloseCode.TOO_LONG
        with pytest.raises(TransportClosedError):
            await transport.send([b"12345678"])
        await transport.close(1000, "")


async def test_a_proxy_is_asked_to_connect(tmp_path):
    tls, trust = certificate(tmp_path)
    asked = []

    async def handler(connection):
        await connection.wait_closed()

    async def proxy(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        asked.append(request.split(b"\r\n")[0].decode())
        host, _, port = asked[0].split()[1].rpartition(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))

    async def copy(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async with (
        listening(tls, handler) as port,
        await asyncio.start_server(proxy, "127.0.0.1", 0) as server,
    ):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        transport = await connect(
            f"wss://127.0.0.1:{port}/link", user_agent="x", ssl=trust, proxy=url
        )
        await transport.close(1000, "")
    assert asked == [f"CONNECT 127.0.0.1:{port} HTTP/1.1"]


async def failing(url: str, **options) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await connect(url, **({"user_agent": "x", "proxy": None} | options))
    return caught.value


async def test_each_way_not_to_connect_is_named(tmp_path, unused_tcp_port):
    tls, trust = certificate(tmp_path)

    async def handler(connection):
        await connection.wait_closed()

    def redirect(connection, _request):
        answer = connection.respond(302, "")
        answer.headers["Location"] = "wss://127.0.0.1:1/elsewhere"
        return answer

    nowhere = f"127.0.0.1:{unused_tcp_port}"
    assert (await failing("http://x")).phase == "address"
    assert (await failing(f"wss://{nowhere}/")).phase == "network"
    assert (await failing("wss://127.0.0.1:1/", proxy=f"http://{nowhere}")).phase == "network"
    async with listening(tls, handler) as port:
        assert (await failing(f"wss://127.0.0.1:{port}/")).phase == "tls"  # not trusted
        assert (await failing(f"ws://127.0.0.1:{port}/")).phase == "upgrade"  # TLS expected there
    async with listening(tls, handler, subprotocols=None) as port:
        assert (await failing(f"wss://127.0.0.1:{port}/", ssl=trust)).phase == "upgrade"
    async with listening(tls, handler, process_request=redirect) as port:
        error = await failing(f"wss://127.0.0.1:{port}/", ssl=trust)
        assert error.phase == "upgrade"
        assert "302" in str(error)

    async def forbid(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(forbid, "127.0.0.1", 0) as server:
        proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        error = await failing("wss://127.0.0.1:1/", proxy=proxy)
        assert error.phase == "proxy"
        assert "403" in str(error)

    async with await asyncio.get_running_loop().create_server(
        asyncio.Protocol, "127.0.0.1", 0
    ) as server:  # says nothing
        port = server.sockets[0].getsockname()[1]
        assert (
            await failing(f"wss://127.0.0.1:{port}/", ssl=trust, open_seconds=0.1)
        ).phase == "time"
