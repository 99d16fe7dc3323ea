"""Many connections at once.

Who is answered, who is closed unread, and that known devices keep their slots.

On the simulated network and on real sockets; the real programs are in
`tests/interop/test_limits.py`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from swallowtail.calls.config import Configuration, Device
from swallowtail.calls.dicom_listener import DicomListener, EchoMeaning
from swallowtail.dicom.commands import echo_request
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.net import Connection
from swallowtail.dicom.pdu_codec import encode_pdu
from swallowtail.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from swallowtail.link.directory import Directory
from swallowtail.link.scp.admission import CONNECTIONS, CONNECTIONS_PER_ADDRESS
from swallowtail.link.scp.listener import ApplicationEntity
from swallowtail.link.state import LinkState
from swallowtail.runtime.network import AsyncioNetwork
from tests.unit.link.stage import (
    CONFIGURATION,
    LINK,
    LISTENER,
    MODALITY,
    PORT,
    STRANGER,
    Stage,
    play,
)

REQUEST = propose("SWALLOW", "US1", [(VERIFICATION, (EXPLICIT_VR_LITTLE_ENDIAN,))])
UNKNOWN = encode_pdu(propose("SWALLOW", "NOBODY", [(VERIFICATION, (EXPLICIT_VR_LITTLE_ENDIAN,))]))
ACCEPTED, LIMITED, NOT_RECOGNISED = (2,), (3, 2, 3, 2), (3, 1, 1, 3)


def listening(**listener: object) -> Configuration:
    changed = msgspec.structs.replace(LISTENER, **listener)
    return msgspec.structs.replace(CONFIGURATION, listeners=(changed,))


def test_dribblers_from_one_address_keep_no_known_modality_out():
    async def scene(stage: Stage) -> None:
        crowd = []
        for _ in range(500):
            transport, _ = await stage.hosts[STRANGER].connect(asyncio.Protocol, LINK, PORT)
            transport.write(b"\x01")
            crowd.append(transport)
        await asyncio.sleep(1)
        began = stage.loop.time()
        connection = await stage.associate(REQUEST)
        assert isinstance(connection, Connection)
        connection.send(1, echo_request(9, VERIFICATION))
        assert isinstance(await connection.next_event(), CommandReceived)
        assert stage.loop.time() - began < 1

    play(scene)


class Peer(asyncio.Protocol):
    """A connection that sends its request at once and keeps what comes back; its end stays open."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.received = b""
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.lost = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    @property
    def answer(self) -> tuple[int, ...]:
        """What came: (2,) for an A-ASSOCIATE-AC, (3, result, source, reason) for a rejection."""
        return (
            (3, *self.received[7:10]) if self.received[:1] == b"\x03" else tuple(self.received[:1])
        )


async def crowd(stage: Stage, source: str, count: int, request: bytes) -> list[Peer]:
    """Open so many connections at once."""
    peers = [Peer(request) for _ in range(count)]
    for peer in peers:
        await stage.hosts[source].connect(lambda peer=peer: peer, LINK, PORT)
    await asyncio.sleep(0.5)
    return peers


def test_every_association_over_the_limit_of_an_address_is_rejected_not_cut():
    async def scene(stage: Stage) -> None:
        peers = await crowd(stage, MODALITY, CONNECTIONS_PER_ADDRESS, encode_pdu(REQUEST))
        answers = Counter(peer.answer for peer in peers)
        assert answers == {ACCEPTED: 32, LIMITED: CONNECTIONS_PER_ADDRESS - 32}
        assert stage.agent.endpoints.states[0].connections == 32

    play(scene, configuration=listening(max_associations=64, max_associations_per_address=32))


def test_the_listeners_own_limit_is_answered_likewise_and_slots_come_back():
    async def scene(stage: Stage) -> None:
        peers = await crowd(stage, MODALITY, 40, encode_pdu(REQUEST))
        assert Counter(peer.answer for peer in peers) == {ACCEPTED: 8, LIMITED: 32}
        for peer in peers:
            peer.transport.abort()
        await asyncio.sleep(1)
        assert isinstance(await stage.associate(REQUEST), Connection)

    play(scene, configuration=listening(max_associations=8, max_associations_per_address=32))


def test_beyond_the_second_bound_connections_are_closed_unread():
    """Else an address could pile up transports without bound, each within the deadline of its
    request.
    """

    async def scene(stage: Stage) -> None:
        silent = await crowd(stage, STRANGER, CONNECTIONS_PER_ADDRESS, b"\x01")
        late = await crowd(stage, STRANGER, 20, UNKNOWN)
        assert [peer.lost for peer in silent] == [False] * CONNECTIONS_PER_ADDRESS
        assert [(peer.answer, peer.lost) for peer in late] == [((), True)] * 20
        assert isinstance(await stage.associate(REQUEST), Connection), "another address is served"
        await asyncio.sleep(31)  # the deadline of the request
        assert [peer.lost for peer in silent] == [True] * CONNECTIONS_PER_ADDRESS
        (again,) = await crowd(stage, STRANGER, 1, UNKNOWN)
        assert again.answer == NOT_RECOGNISED

    play(scene)


def test_a_rejected_connection_holds_its_slot_until_its_transport_is_gone():
    """Else an address could pile up transports without bound.

    Each is judged, rejected, and never closed by the stranger.
    """

    async def scene(stage: Stage) -> None:
        peers = await crowd(stage, STRANGER, CONNECTIONS_PER_ADDRESS + 20, UNKNOWN)
        answers = Counter(peer.answer for peer in peers)
        assert answers == {NOT_RECOGNISED: CONNECTIONS_PER_ADDRESS, (): 20}
        await asyncio.sleep(2)
        (again,) = await crowd(stage, STRANGER, 1, UNKNOWN)
        assert again.answer == NOT_RECOGNISED

    play(scene)


# Real sockets


async def answered(port: int, request: bytes) -> tuple[tuple[int, ...], asyncio.StreamWriter]:
    """Connect, send, and return what came back; empty when the connection was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        head = await reader.readexactly(10)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return (), writer
    return ((3, *head[7:10]) if head[0] == 3 else (head[0],)), writer


@asynccontextmanager
async def listening_on_loopback(**settings: object) -> AsyncIterator[ApplicationEntity]:
    """Run a listener that knows the device US1 at 127.0.0.1, and answers C-ECHO without a Cloud."""
    listener = DicomListener(name="main", ae_title="SWALLOW", port=104, echo=EchoMeaning.LINK)
    device = Device(name="us1", ae_title="US1", addresses=("127.0.0.1",))
    site = LinkState(session=lambda: None, random=bytes, wall=lambda: 0.0)
    site.directory = Directory.of([device])
    entity = ApplicationEntity(msgspec.structs.replace(listener, **settings), site)
    await entity.open(AsyncioNetwork(), "127.0.0.1", 0)
    try:
        yield entity
    finally:
        await entity.drain(0.0, stopping=True)


@pytest.mark.parametrize("limit", [1, 32])
async def test_on_real_sockets_each_connection_over_the_limit_gets_its_rejection(limit):
    async with (
        listening_on_loopback(max_associations_per_address=limit) as entity,
        asyncio.timeout(30),
    ):
        port, writers = entity.address[1], []
        for _ in range(limit):
            answer, writer = await answered(port, encode_pdu(REQUEST))
            assert answer == ACCEPTED
            writers.append(writer)
        more = await asyncio.gather(*(answered(port, encode_pdu(REQUEST)) for _ in range(60)))
        assert Counter(answer for answer, _ in more) == {LIMITED: 60}
        assert entity.connections == limit
        for writer in [*writers, *(writer for _, writer in more)]:
            writer.close()


async def test_strangers_at_many_addresses_leave_a_quarter_of_the_connections_to_known_devices():
    async with listening_on_loopback() as entity, asyncio.timeout(30):
        port, kept = entity.address[1], []
        for number in range(CONNECTIONS):
            source = (f"127.0.1.{number % 16 + 1}", 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
            writer.write(b"\x01")  # the first byte of a request, and no more
            kept.append((reader, writer))
        refused = sum([await is_closed(reader) for reader, _ in kept[-CONNECTIONS // 4 :]])
        assert refused == CONNECTIONS // 4
        answer, writer = await answered(port, encode_pdu(REQUEST))
        assert answer == ACCEPTED
        for one in (writer, *(writer for _, writer in kept)):
            one.close()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection; return whether it came without a byte."""
    try:
        return await reader.read(1) == b""
    except ConnectionResetError:
        return True
