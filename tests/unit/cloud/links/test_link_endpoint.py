"""`/link` in memory: real sessions at both ends of a pretend WebSocket, over the stores' twins."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.types import Message
from structlog.testing import capture_logs

from swallowtail.calls.codec import MalformedCallError, encode
from swallowtail.calls.report import REPORT, AssociationEnded, ObservationReport
from swallowtail.calls.store import STORE
from swallowtail.cloud.auditing.tally import AuditTally
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import InlineWorkers
from swallowtail.cloud.bus.in_process import InProcessBus
from swallowtail.cloud.dispatch.runner import Dispatch
from swallowtail.cloud.link_administration.reported_states import ReportedStates
from swallowtail.cloud.link_administration.session_watch import SessionWatch
from swallowtail.cloud.links.call_table import Calls
from swallowtail.cloud.links.delivering import Outbound
from swallowtail.cloud.links.desired import Desired
from swallowtail.cloud.links.link_endpoint import CUT, LinkSessions
from swallowtail.cloud.links.report_call import Reports
from swallowtail.cloud.model.link_session import LinkOfflineError
from swallowtail.cloud.model.port_errors import FencedError, NotFoundError, StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.control import Refuse, read_control
from swallowtail.wire.failures import ChannelResetError, RefusedError
from swallowtail.wire.frames import HEADER, ChannelPriority, Frame, FrameType, frame
from swallowtail.wire.handshake import LinkHello
from swallowtail.wire.net import Session
from swallowtail.wire.reasons import CloseCode, ResetReason
from swallowtail.wire.session import SessionMachine
from swallowtail.wire.transport import SUBPROTOCOL, TransportClosedError
from tests.doubles.simulated_disk import SimulatedDisk
from tests.link_calls import CALLS
from tests.unit.cloud.links.test_authentication import EVENT, HERON, NOW, Place
from tests.world.loop import WorldLoop


class Stores:
    """Stands where stores are served, and does what a test wants."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.endless = False

    async def serve(self, _live: object, channel: Any) -> None:
        if self.endless:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        await channel.message(b"done", fin=True)


class Pipe:
    """A pretend WebSocket: ASGI on the Cloud's side, a FrameTransport on the Link's."""

    def __init__(self) -> None:
        self.up: asyncio.Queue[Message] = asyncio.Queue()
        self.down: asyncio.Queue[Message] = asyncio.Queue()
        self.up.put_nowait({"type": "websocket.connect"})
        self.stuck = False

    async def asgi_send(self, message: Message) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.down.put_nowait(message)

    async def send(self, frames: Sequence[Frame]) -> None:
        for one in frames:
            self.up.put_nowait({"type": "websocket.receive", "bytes": bytes(one)})

    async def receive(self) -> list[bytes]:
        message = await self.down.get()
        if message["type"] == "websocket.accept":
            message = await self.down.get()
        if message["type"] == "websocket.close":
            self.down.put_nowait(message)
            raise TransportClosedError(message["code"], message["reason"])
        return [message["bytes"]]

    async def close(self, code: int, text: str) -> None:
        self.up.put_nowait({"type": "websocket.disconnect", "code": code, "reason": text})


class World:
    """The sessions of one Cloud, and a machine that may connect to it."""

    def __init__(self, place: Place, tasks: Tasks) -> None:
        self.place, self.tasks, self.stores, self.bus = place, tasks, Stores(), InProcessBus()
        records = place.records
        self.blobs = FolderBlobs(
            SimulatedDisk().mount(), InlineWorkers(), on_fatal=lambda _: None, max_object=1_000_000
        )
        self.tally = AuditTally(records.audit, lambda: NOW)
        self.ended: list[tuple[str, str, bytes]] = []
        reports = Reports(
            ReportedStates(records.configuration), ended=self._ended, tally=self.tally
        )
        desired = Desired(
            SessionWatch(
                records.links, records.configuration, records.alarms, self.bus, clock=lambda: NOW
            ),
            reports,
        )
        calls = Calls(self.stores, reports)  # type: ignore[arg-type]
        dispatch = Dispatch(
            deliveries=records.deliveries,
            instances=records.instances,
            blobs=self.blobs,
            configuration=records.configuration,
            alarms=records.alarms,
            bus=self.bus,
            clock=lambda: NOW,
        )
        self.sessions = LinkSessions(
            gate=place.gate,
            calls=calls,
            desired=desired,
            reports=reports,
            dispatch=dispatch,
            clock=lambda: NOW,
        )
        self.key = Ed25519PrivateKey.generate()

    async def _ended(self, tenant: Tenant, link: str, associations: Collection[bytes]) -> None:
        self.ended += [(tenant, link, one) for one in associations]

    def outbound(self) -> Outbound:
        """The live session of the one Link, as the dispatch has it."""
        return Outbound(self.sessions._live[HERON, "l"])

    def upgrade(self, pipe: Pipe, *subprotocols: str) -> asyncio.Task[None]:
        scope = {
            "type": "websocket",
            "subprotocols": list(subprotocols),
            "client": ("192.0.2.1", 1),
            "headers": [],
            "path": "/link",
        }
        scope["extensions"] = {"websocket.http.response": {}}
        return self.tasks.spawn(self.sessions(scope, pipe.up.get, pipe.asgi_send), name="upgrade")

    @asynccontextmanager
    async def connected(
        self, capabilities: tuple[str, ...] = ("listener:dicom", *CALLS)
    ) -> AsyncIterator[Session]:
        pipe = Pipe()
        served = self.upgrade(pipe, SUBPROTOCOL)
        public = self.key.public_key().public_bytes_raw()
        hello = LinkHello(
            release="0.1.0",
            capabilities=capabilities,
            code=self.place.code,
            key=public,
            sign=self.key.sign,
        )
        machine = SessionMachine(hello, now=asyncio.get_running_loop().time())
        async with Session(machine, pipe) as session:
            await session.hello_accepted()
            yield session
        await served

    async def call(self, session: Session, name: str, body: bytes = b"") -> ResetReason | None:
        """Open a call and give why it was reset; None when it was answered."""
        channel = await session.open(name, body, ChannelPriority.INTERACTIVE, fin=True)
        try:
            await channel.receive()
        except ChannelResetError as error:
            return error.reason
        return None


@pytest.fixture
async def world() -> AsyncIterator[World]:
    place = Place()
    await place.populate()
    async with Tasks("test") as tasks:
        yield World(place, tasks)


async def test_an_upgrade_without_our_subprotocol_is_denied_with_a_sentence(world: World) -> None:
    pipe = Pipe()
    await world.upgrade(pipe, "graphql-ws")
    start, body = await pipe.down.get(), await pipe.down.get()
    assert start["status"] == 400
    assert SUBPROTOCOL.encode() in body["body"]


async def test_presence_lasts_as_long_as_the_session(world: World) -> None:
    async with world.connected():
        session_state = world.sessions.session(HERON, "l")
        assert session_state is not None
        assert (
            session_state.since,
            session_state.address,
            session_state.release,
            session_state.epoch,
        ) == (
            NOW,
            "192.0.2.1",
            "0.1.0",
            1,
        )
    assert world.sessions.session(HERON, "l") is None
    running = (await world.place.records.configuration.running(HERON, ["l"]))["l"]
    assert (running.connected, running.epoch) == (False, 1)
    with pytest.raises(LinkOfflineError):
        await world.sessions.ping(HERON, "l", 1)


async def test_a_newer_session_takes_the_place_and_the_older_leaves_no_trace(world: World) -> None:
    async with world.connected() as older, world.connected() as newer:
        await asyncio.wait([older.closed])
        assert older.peer_goodbye is not None
        assert older.peer_goodbye.reason == "replaced"
        session_state = world.sessions.session(HERON, "l")
        assert session_state is not None
        assert session_state.epoch == 2
        assert not newer.closed.done()
    assert world.sessions.session(HERON, "l") is None


async def test_a_revoked_link_is_sent_away_when_the_bus_wakes_its_session(world: World) -> None:
    async with world.connected() as session:
        await world.place.records.links.revoke(HERON, "l", now=NOW, event=EVENT)
        world.bus.publish("link/l")
        async with asyncio.timeout(5):
            await asyncio.wait([session.closed])
        assert session.peer_goodbye is not None
        assert session.peer_goodbye.reason == "revoked"


async def test_draining_ends_every_session_and_lets_none_begin(world: World) -> None:
    async with world.connected() as session:
        await world.sessions.drain()
        assert session.peer_goodbye is not None
        assert (session.peer_goodbye.reason, session.peer_goodbye.retry_after) == ("draining", 1.0)
    with pytest.raises(RefusedError) as refused:
        async with world.connected():
            pass
    assert refused.value.refuse.reason == "busy"


async def test_a_session_in_its_hello_is_told_to_come_again_too(world: World) -> None:
    pipe = Pipe()
    served = world.upgrade(pipe, SUBPROTOCOL)
    await pipe.receive()  # the challenge
    await world.sessions.drain()
    reported = read_control(memoryview((await pipe.receive())[0])[HEADER.size :])
    assert isinstance(reported, Refuse)
    assert (reported.reason, reported.retry_after) == ("busy", 1.0)
    with pytest.raises(TransportClosedError, match="4401"):
        await pipe.receive()
    await served


@pytest.mark.parametrize(("stuck", "least", "most"), [(False, 10.0, 10.1), (True, 14.0, 15.1)])
def test_what_runs_gets_ten_seconds_and_a_connection_that_moves_nothing_five_more(
    stuck: bool, least: float, most: float
) -> None:
    loop = WorldLoop()

    async def scene() -> float:
        place = Place()
        await place.populate()
        async with Tasks("test") as tasks:
            world = World(place, tasks)
            world.stores.endless = True
            async with world.connected() as session:
                assert isinstance(session._transport, Pipe)
                await session.open(STORE, b"", ChannelPriority.BULK, fin=True)
                await session.echo()
                session._transport.stuck = stuck
                began = loop.time()
                await world.sessions.drain()
                session.machine.receive_eof(loop.time())
                return loop.time() - began

    assert least <= loop.run(scene()) <= most


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (None, None),
        (MalformedCallError("$.listener"), ResetReason.MALFORMED),
        (TimeoutError(), ResetReason.DEADLINE),
        (FencedError(), ResetReason.FENCED),
        (StorageUnavailableError(), ResetReason.UNAVAILABLE),
        (NotFoundError(), ResetReason.INTERNAL),
    ],
)
async def test_a_call_that_fails_is_reset_with_its_reason(
    world: World, failure: Exception | None, reason: ResetReason | None
) -> None:
    world.stores.failure = failure
    async with world.connected() as session:
        assert await world.call(session, STORE) is reason


async def test_unknown_and_unreadable_calls_are_reset_and_harm_nothing_else(world: World) -> None:
    async with world.connected() as session:
        assert await world.call(session, "tcp-connect") is ResetReason.UNKNOWN_CALL
        assert await world.call(session, REPORT, b"\xc1") is ResetReason.MALFORMED
        assert await world.call(session, STORE) is None


async def test_a_link_that_floods_is_cut_off_and_the_log_says_why(world: World) -> None:
    before = CUT.labels("limit")._value.get()
    with capture_logs() as lines:
        async with world.connected() as session:
            await session._transport.send(
                [frame(FrameType.CONTROL, 0, b"\x81\xa4kind\xa6future")] * 300
            )
            async with asyncio.timeout(5):
                await asyncio.wait([session.closed])
            assert session.closed.result()[0] == CloseCode.LIMIT
    (line,) = [line for line in lines if line["event"] == "violating session closed"]
    assert (line["link"], line["status"]) == ("l", CloseCode.LIMIT)
    assert "wire §2" in line["reason"]
    assert CUT.labels("limit")._value.get() == before + 1


def _ended(association: bytes, **counts: int) -> AssociationEnded:
    return AssociationEnded(
        association=association,
        listener="store",
        address="192.0.2.7",
        calling_ae="US1",
        called_ae="SWALLOWTAIL",
        outcome="released",
        **counts,
    )


async def test_associations_that_brought_something_are_told_to_the_rules(world: World) -> None:
    seen = (
        _ended(b"a" * 16, instances=3),
        _ended(b"b" * 16, failed=1),
        _ended(b"c" * 16),
        _ended(b"short", instances=1),
    )
    async with world.connected() as session:
        assert (
            await world.call(session, REPORT, encode(ObservationReport(observations=seen))) is None
        )
    assert world.ended == [(HERON, "l", b"a" * 16), (HERON, "l", b"b" * 16)]


async def test_a_link_that_cannot_be_configured_is_refused(world: World) -> None:
    with pytest.raises(RefusedError, match=r"capability.*call:configure"):
        async with world.connected(("listener:dicom", "call:deliver")):
            pass


async def test_the_cloud_announces_the_calls_that_it_serves(world: World) -> None:
    async with world.connected() as session:
        assert session.machine.peer_capabilities == {"call:store", "call:report"}
