"""Associations over real sockets: both roles, and peers that mean us harm."""

import asyncio
import contextlib
import struct
from collections.abc import Callable

import pytest

from swallowtail.dicom import commands, uids
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.indications import (
    AssociateRejected,
    AssociateRequested,
    ConnectionLost,
    DeadlinePassed,
    Released,
)
from swallowtail.dicom.negotiation import answer, propose
from swallowtail.dicom.net import Connection, associate, serve
from swallowtail.dicom.pace import Deadline, Limits
from swallowtail.dicom.pdu import AssociateRJ, RejectResult, RejectSource
from swallowtail.dicom.pdu_codec import encode_pdu
from swallowtail.dicom.pdu_reader import PduReader
from swallowtail.runtime.network import AsyncioNetwork
from swallowtail.sansio.machine import CLOSED
from tests.dicom.pair import CT, CT_CONTEXT, ECHO_CONTEXT, POLICY, REQUEST
from tests.dicom.receiver import Receiver, receiver

NETWORK = AsyncioNetwork()
QUICK = Limits(artim=0.2, linger=0.2, answer=2.0, idle=0.3, window=0.2, tiny_count=1000)
ABORT = b"\x07\x00\x00\x00\x00\x04"


async def _connect(server: Receiver) -> Connection:
    connection = await associate(NETWORK, *server.listener.address, REQUEST)
    assert isinstance(connection, Connection)
    return connection


async def _until(condition: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        while not condition():
            turn = loop.create_future()
            loop.call_later(0.002, turn.set_result, None)
            await turn


async def test_echo_store_and_release() -> None:
    data = bytes(range(256)) * 4001
    async with receiver() as server:
        connection = await _connect(server)
        connection.send(
            ECHO_CONTEXT, commands.echo_request(connection.new_message_id(), uids.VERIFICATION)
        )
        echoed = await connection.next_event()
        assert isinstance(echoed, CommandReceived)
        assert (echoed.command.status, echoed.command.message_id) == (0, 1)
        connection.send(
            CT_CONTEXT, commands.store_request(connection.new_message_id(), CT, "1.2.3")
        )
        for at in range(0, len(data), 65_535):
            connection.send_data(data[at : at + 65_535], last=at + 65_535 >= len(data))
            await connection.drain()
        stored = await connection.next_event()
        assert isinstance(stored, CommandReceived)
        assert (stored.command.status, stored.command.message_id) == (0, 2)
        connection.release()
        assert await connection.next_event() == Released()
        assert await connection.next_event() is CLOSED
        await connection.close()
        assert server.stored == {"1.2.3": data}
        await _until(lambda: len(server.listener) == 0)
        assert server.ended == 1


async def test_a_rejection_is_a_value() -> None:
    async def full(connection: Connection) -> None:
        assert isinstance(await connection.next_event(), AssociateRequested)
        connection.reject(RejectResult.TRANSIENT, RejectSource.PROVIDER_PRESENTATION, 2)

    listener = await serve(NETWORK, "127.0.0.1", 0, full)
    assert await associate(NETWORK, *listener.address, REQUEST) == AssociateRejected(
        AssociateRJ(2, 3, 2)
    )
    await _until(lambda: len(listener) == 0)
    await listener.shutdown()


async def test_a_cap_on_connections_needs_no_answer() -> None:
    async def offline(connection: Connection) -> None:
        assert connection.peer[0] == "127.0.0.1"
        connection.abort()

    listener = await serve(NETWORK, "127.0.0.1", 0, offline)
    assert await associate(NETWORK, *listener.address, REQUEST) == ConnectionLost()
    await listener.shutdown()


async def test_nothing_listens() -> None:
    async with receiver() as server:
        address = server.listener.address
    with pytest.raises(OSError, match="Connect call failed"):
        await associate(NETWORK, *address, REQUEST)


async def test_a_listener_that_says_nothing_is_given_up() -> None:
    async def deaf(connection: Connection) -> None:
        await connection.next_event()
        await asyncio.Event().wait()

    listener = await serve(NETWORK, "127.0.0.1", 0, deaf, limits=QUICK)
    result = await associate(
        NETWORK, *listener.address, REQUEST, limits=Limits(answer=0.1, linger=0.1)
    )
    assert result == DeadlinePassed(Deadline.ANSWER)
    await listener.shutdown()
    assert len(listener) == 0


async def test_what_a_consumer_leaves_open_is_aborted() -> None:
    async def forgetful(connection: Connection) -> None:
        event = await connection.next_event()
        assert isinstance(event, AssociateRequested)
        connection.accept(answer(event.request, POLICY))

    listener = await serve(NETWORK, "127.0.0.1", 0, forgetful)
    connection = await associate(NETWORK, *listener.address, REQUEST)
    assert isinstance(connection, Connection)
    assert type(await connection.next_event()).__name__ == "Aborted"
    await connection.close()
    await listener.shutdown()


@pytest.mark.parametrize(
    "greeting", [b"GET / HTTP/1.1\r\n\r\n", encode_pdu(REQUEST)[:50], encode_pdu(REQUEST)]
)
async def test_a_connection_that_nobody_looks_at_keeps_no_buffer(greeting: bytes) -> None:
    readers: list[PduReader] = []

    async def turn_away(connection: Connection) -> None:
        readers.append(connection._dimse._association._reader)
        await _until(lambda: readers[0].inside)
        connection.abort()

    buffers = BufferPool()
    listener = await serve(NETWORK, "127.0.0.1", 0, turn_away, buffers=buffers)
    reader, writer = await asyncio.open_connection(*listener.address)
    writer.write(greeting)
    with contextlib.suppress(ConnectionResetError):
        await reader.read()
    writer.close()
    await _until(lambda: not len(listener))
    assert readers[0]._buffer is None
    assert buffers.lent == 0
    await listener.shutdown()


async def test_closing_a_listener_leaves_associations_alone() -> None:
    async with receiver() as server:
        connection = await _connect(server)
        await server.listener.close()
        connection.send(ECHO_CONTEXT, commands.echo_request(1, uids.VERIFICATION))
        assert isinstance(await connection.next_event(), CommandReceived)
        await server.listener.shutdown()
        assert type(await connection.next_event()).__name__ == "Aborted"
        await connection.close()


async def test_a_port_probe_leaves_no_trace() -> None:
    async with receiver() as server:
        _, writer = await asyncio.open_connection(*server.listener.address)
        writer.close()
        await writer.wait_closed()
        await _until(lambda: server.ended == 1 and len(server.listener) == 0)
        assert server.events == server.violations == []


def _pdu(data: bytes, context: int, control: int) -> bytes:
    return struct.pack(">BxIIBB", 4, len(data) + 6, len(data) + 2, context, control) + data


HOSTILE: dict[str, tuple[bytes, bytes, str]] = {
    "4 GiB A-ASSOCIATE": (
        b"",
        b"\x01\0\xff\xff\xff\xff" + bytes(100_000),
        "claims 4294967295 bytes",
    ),
    "HTTP": (b"", b"GET / HTTP/1.1\r\n\r\n", "PDU type 47 is unknown"),
    "4 GiB P-DATA": (
        encode_pdu(REQUEST),
        b"\x04\0\xff\xff\xff\xff" + bytes(100_000),
        "claims 4294967295 bytes",
    ),
    "endless command": (
        encode_pdu(REQUEST),
        _pdu(bytes(30_000), 1, 1) * 100,
        "more than 65536 bytes",
    ),
    "one-byte PDVs": (
        encode_pdu(REQUEST),
        _pdu(commands.encode(commands.store_request(1, CT, "1.2")), 3, 3)
        + _pdu(b"x", 3, 0) * 20_000,
        "PDVs carried",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_peer_gets_an_abort_and_is_closed(name: str) -> None:
    greeting, attack, words = HOSTILE[name]
    async with receiver(QUICK) as server:
        reader, writer = await asyncio.open_connection(*server.listener.address)
        writer.write(greeting)
        if greeting:
            accepted = await reader.readexactly(6)
            await reader.readexactly(int.from_bytes(accepted[2:]))
        writer.write(attack)
        async with asyncio.timeout(5):  # busy machines; the second is kept in test_net_deadlines
            assert (await reader.readexactly(10)).startswith(ABORT)
            with contextlib.suppress(
                ConnectionResetError
            ):  # our close met bytes that nobody will read
                assert await reader.read() == b""
        writer.close()
        await _until(lambda: len(server.listener) == 0)
        assert len(server.violations) == 1
        assert words in server.violations[0]
        healthy = await _connect(server)
        await healthy.close()


@pytest.mark.parametrize(
    ("greeting", "deadline"),
    [
        (b"", Deadline.REQUEST),
        (encode_pdu(REQUEST), Deadline.IDLE),
        (encode_pdu(REQUEST) + b"\x04\0\0\0", Deadline.RATE),
    ],
    ids=["nothing", "no message", "half a header"],
)
async def test_a_silent_peer_is_closed(greeting: bytes, deadline: Deadline) -> None:
    async with receiver(QUICK) as server:
        reader, writer = await asyncio.open_connection(*server.listener.address)
        writer.write(greeting)
        async with asyncio.timeout(5):
            received = await reader.read()
        assert received[-10:].startswith(ABORT) is bool(greeting)
        assert server.events == [DeadlinePassed(deadline)]
        writer.close()


async def _send_for_ever(connection: Connection) -> None:
    for _ in range(64):
        connection.send_data(bytes(1 << 20), last=False)
        await connection.drain()
    pytest.fail("64 MiB are more than the kernel's buffers take")


async def test_a_socket_is_not_read_while_nobody_asks() -> None:
    go_on = asyncio.Event()
    received = 0

    async def slow(connection: Connection) -> None:
        nonlocal received
        event = await connection.next_event()
        assert isinstance(event, AssociateRequested)
        connection.accept(answer(event.request, POLICY))
        await connection.next_event()
        await connection.next_event()
        await go_on.wait()
        while (event := await connection.next_event()) is not CLOSED:
            received += len(getattr(event, "data", b""))

    listener = await serve(NETWORK, "127.0.0.1", 0, slow, limits=Limits(linger=0.1))
    connection = await associate(
        NETWORK, *listener.address, propose("A", "B", [(CT, (uids.EXPLICIT_VR_LITTLE_ENDIAN,))])
    )
    assert isinstance(connection, Connection)
    connection.send(1, commands.store_request(1, CT, "1.2"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_send_for_ever(connection), 0.3)
    go_on.set()
    await connection.drain()
    connection.abort()
    await connection.close()
    await _until(lambda: len(listener) == 0)
    assert received > 0
    await listener.shutdown()
