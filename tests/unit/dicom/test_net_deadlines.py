"""The shell's default deadlines, in the simulated world.

Hours in milliseconds, and every byte cut by the network.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from swallowtail.dicom import commands, uids
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.dimse import CommandReceived, DataSetFragment
from swallowtail.dicom.indications import (
    AssociateRequested,
    ConnectionLost,
    DeadlinePassed,
    Released,
)
from swallowtail.dicom.negotiation import answer
from swallowtail.dicom.net import Connection, associate, serve
from swallowtail.dicom.pace import Deadline
from swallowtail.dicom.pdu_codec import encode_pdu
from swallowtail.sansio.machine import CLOSED
from tests.dicom.pair import CT, CT_CONTEXT, ECHO_CONTEXT, POLICY, REQUEST
from tests.dicom.receiver import Receiver
from tests.world.loop import WorldLoop
from tests.world.network import Road, SimulatedNetwork


class Peer(asyncio.Protocol):
    """A peer below the level of DICOM: it sends what it is told and notes when it is closed."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.on_received = b""
        self.closed_at: float | None = None

    def data_received(self, data: bytes) -> None:
        self.on_received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed_at = asyncio.get_running_loop().time()


class World:
    """A modality, a Link, and what happened between them."""

    def __init__(self, loop: WorldLoop, seed: int) -> None:
        self.network = SimulatedNetwork(loop, seed)
        self.modality = self.network.host("modality", "10.0.0.1")
        self.link = self.network.host("link", "10.0.0.2")
        self.network.set_road(self.modality, self.link, Road(window=50_000))
        self.buffers = BufferPool()
        self.receiver = Receiver(POLICY)

    async def listen(
        self, on_connection: Callable[[Connection], Awaitable[None]] | None = None
    ) -> None:
        self.listener = await serve(
            self.link, "10.0.0.2", 104, on_connection or self.receiver, buffers=self.buffers
        )

    async def peer(self, greeting: bytes = b"") -> Peer:
        _, peer = await self.modality.connect(Peer, "10.0.0.2", 104)
        peer.transport.write(greeting)
        return peer

    async def associate(self) -> Connection:
        connection = await associate(self.modality, "10.0.0.2", 104, REQUEST, buffers=self.buffers)
        assert isinstance(connection, Connection)
        return connection


def run(story: Callable[[World], Awaitable[None]], seed: int = 0) -> None:
    loop = WorldLoop(seed)
    world = World(loop, seed)

    async def whole() -> None:
        await story(world)
        await world.listener.shutdown()
        assert world.buffers.lent == 0

    try:
        loop.run(whole())
        assert not loop.problems
    finally:
        loop.close()


@pytest.mark.parametrize("seed", range(5))
def test_a_store_survives_every_cut(seed: int) -> None:
    data = bytes(range(251)) * 4000

    async def story(world: World) -> None:
        await world.listen()
        connection = await world.associate()
        connection.send(CT_CONTEXT, commands.store_request(1, CT, "1.2.3"))
        for at in range(0, len(data), 65_536):
            connection.send_data(data[at : at + 65_536], last=at + 65_536 >= len(data))
            await connection.drain()
        assert isinstance(await connection.next_event(), CommandReceived)
        connection.release()
        assert await connection.next_event() == Released()
        await connection.close()
        assert world.receiver.stored == {"1.2.3": data}

    run(story, seed)


def test_an_association_must_be_asked_for_within_30_seconds() -> None:
    async def story(world: World) -> None:
        await world.listen()
        peer = await world.peer()
        for byte in encode_pdu(REQUEST)[:60]:
            peer.transport.write(bytes([byte]))
            await asyncio.sleep(2)
        assert peer.closed_at == pytest.approx(30, abs=0.1)
        assert world.receiver.events == [DeadlinePassed(Deadline.REQUEST)]

    run(story)


@pytest.mark.parametrize(
    "attack",
    [b"\x01\0\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"\x04\0\0\0\0\x0a"],
    ids=["4 GiB", "HTTP", "P-DATA"],
)
def test_who_breaks_the_protocol_is_told_and_gone_within_a_second(attack: bytes) -> None:
    async def story(world: World) -> None:
        await world.listen()
        peer = await world.peer(attack + bytes(5_000_000))
        await asyncio.sleep(5)
        assert peer.on_received.startswith(b"\x07\0\0\0\0\x04")
        assert peer.closed_at is not None
        assert peer.closed_at < 1.0
        assert len(world.receiver.violations) == 1

    run(story)


def test_an_idle_association_ends_after_300_seconds_but_not_one_that_speaks() -> None:
    async def story(world: World) -> None:
        await world.listen()
        connection = await world.associate()
        for number in range(1, 10):
            await asyncio.sleep(250)
            connection.send(ECHO_CONTEXT, commands.echo_request(number, uids.VERIFICATION))
            assert isinstance(await connection.next_event(), CommandReceived)
        await asyncio.sleep(310)
        assert world.receiver.events == [DeadlinePassed(Deadline.IDLE)]
        await connection.close()

    run(story)


def test_a_message_must_come_at_a_kibibyte_a_second() -> None:
    async def story(world: World) -> None:
        await world.listen()
        connection = await world.associate()
        began = asyncio.get_running_loop().time()
        connection.send(CT_CONTEXT, commands.store_request(1, CT, "1.2.3"))
        for _ in range(50):  # twice the minimum, for longer than the window
            connection.send_data(bytes(2048), last=False)
            await asyncio.sleep(1)
        assert world.receiver.events == []
        while not connection.closed:
            connection.send_data(bytes(512), last=False)
            await asyncio.sleep(1)
            if world.receiver.events:
                break
        assert world.receiver.events == [DeadlinePassed(Deadline.RATE)]
        assert asyncio.get_running_loop().time() - began < 50 + 2 * 30 + 2
        await connection.close()

    run(story)


def test_time_that_we_do_not_read_is_not_the_peer_s() -> None:
    stalled_for = 45.0

    async def story(world: World) -> None:
        received = 0

        async def slow(connection: Connection) -> None:
            nonlocal received
            event = await connection.next_event()
            assert isinstance(event, AssociateRequested)
            connection.accept(answer(event.request, POLICY))
            asked = await connection.next_event()
            assert isinstance(asked, CommandReceived)
            await asyncio.sleep(stalled_for)
            while isinstance(event := await connection.next_event(), DataSetFragment):
                received += len(event.data)
                if event.last:
                    connection.send(CT_CONTEXT, commands.response_to(asked.command, 0))
            assert event is not CLOSED

        await world.listen(slow)
        connection = await world.associate()
        connection.send(CT_CONTEXT, commands.store_request(1, CT, "1.2.3"))
        for n in range(20):
            connection.send_data(bytes(65_536), last=n == 19)
            await connection.drain()
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert asyncio.get_running_loop().time() > stalled_for
        assert received == 20 * 65_536
        connection.abort()
        await connection.close()

    run(story)


def test_a_peer_that_never_reads_its_answers_is_not_read_for_ever() -> None:
    async def story(world: World) -> None:
        await world.listen()
        peer = await world.peer(encode_pdu(REQUEST))
        peer.transport.pause_reading()
        echo = commands.encode(commands.echo_request(1, uids.VERIFICATION))
        pdu = (
            b"\x04\0"
            + (len(echo) + 6).to_bytes(4)
            + (len(echo) + 2).to_bytes(4)
            + b"\x01\x03"
            + echo
        )
        for _ in range(100):
            peer.transport.write(pdu * 1000)
            await asyncio.sleep(0.1)
        assert peer.transport.get_write_buffer_size() > 2_000_000, (
            "it cannot get rid of its questions"
        )
        assert len(world.listener) == 1
        await asyncio.sleep(60)
        assert len(world.listener) == 0
        assert world.receiver.events == [ConnectionLost()]
        peer.transport.abort()

    run(story)


def test_a_peer_that_reads_slowly_is_not_cut() -> None:
    async def story(world: World) -> None:
        async def slow(connection: Connection) -> None:
            event = await connection.next_event()
            assert isinstance(event, AssociateRequested)
            connection.accept(answer(event.request, POLICY))
            closed = False
            while not closed:
                closed = await connection.next_event() is CLOSED
                await asyncio.sleep(20)

        await world.listen(slow)
        connection = await world.associate()
        connection.send(CT_CONTEXT, commands.store_request(1, CT, "1.2.3"))
        for n in range(16):
            connection.send_data(bytes(65_536), last=n == 15)
            await connection.drain()
        assert asyncio.get_running_loop().time() > 120
        await connection.close()

    run(story)


def test_a_lost_peer_is_heard() -> None:
    async def story(world: World) -> None:
        await world.listen()
        peer = await world.peer(encode_pdu(REQUEST))
        await asyncio.sleep(1)
        peer.transport.abort()
        await asyncio.sleep(1)
        assert world.receiver.events == [ConnectionLost()]
        assert len(world.listener) == 0

    run(story)
