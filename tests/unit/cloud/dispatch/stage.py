"""A Cloud on twins with one connected Link that a test plays, for the dispatch."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from swallowtail.calls.config import Configuration, Destination, dump
from swallowtail.calls.deliver import (
    About,
    DeliverAnswer,
    Delivered,
    DeliverRequest,
    DeliveryPhase,
    NotDelivered,
)
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import InlineWorkers
from swallowtail.cloud.bus.in_process import InProcessBus
from swallowtail.cloud.dispatch.attempt import Progress
from swallowtail.cloud.dispatch.runner import Dispatch, topic
from swallowtail.cloud.model.delivery import (
    INSTANCE,
    Delivery,
    DeliverySearch,
    DeliveryState,
    NewDelivery,
    Target,
)
from swallowtail.cloud.model.link_session import LinkOfflineError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.model.transcoding import Transcoder
from swallowtail.cloud.records.records import Records
from swallowtail.runtime.tasks import Tasks
from tests.conformance.invented import EVENT, NORTH, NOW, admitted_link, arrival, indexed, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase
from tests.doubles.simulated_disk import SimulatedDisk

PACS = Target(link="ward", destination="pacs")
DESTINATION = Destination(name="pacs", host="192.0.2.7", port=104, ae_title="PACS", attempts=2)

DOWN = NotDelivered(
    about=About.DESTINATION, phase=DeliveryPhase.CONNECT, detail="nobody listens there; start it"
)
OUT_OF_RESOURCES = NotDelivered(
    about=About.DESTINATION, phase=DeliveryPhase.RESPONSE, detail="it is full", status=0xA700
)
ABORTED = NotDelivered(
    about=About.DESTINATION, phase=DeliveryPhase.RESPONSE, detail="it aborted the association"
)
REFUSED = NotDelivered(
    about=About.INSTANCE, phase=DeliveryPhase.RESPONSE, detail="it does not match", status=0xA900
)
LINK_STOPS = NotDelivered(about=About.LINK, phase=DeliveryPhase.QUEUE, detail="Link stops")
PASSED_OVER = NotDelivered(
    about=About.LINK, phase=DeliveryPhase.QUEUE, detail="the one before it did not arrive"
)
SUCCESS: Callable[[DeliverRequest, bytes], DeliverAnswer] = lambda _, body: delivered(body)  # noqa: E731


def delivered(body: bytes, status: int = 0) -> Delivered:
    return Delivered(length=len(body), crc32=zlib.crc32(body), status=status, seconds=0.01)


class PlayedLink:
    """A session whose answers the test decides: `answer` is asked for each delivery in turn."""

    def __init__(self) -> None:
        self.tenant: Tenant = NORTH
        self.link = "ward"
        self.epoch = 7
        self.session_ended = False
        self.got: list[tuple[DeliverRequest, bytes]] = []
        self.opened: list[DeliverRequest] = []
        self.answer: Callable[[DeliverRequest, bytes], DeliverAnswer] = SUCCESS
        self.hold: asyncio.Event | None = None
        self.well = True
        self.echoed: list[str] = []
        self._turns: dict[tuple[str, int], asyncio.Lock] = {}
        self._arrived: set[int] = set()

    async def deliver(
        self, request: DeliverRequest, pieces: AsyncIterator[bytes], progress: Progress
    ) -> DeliverAnswer:
        self.opened.append(request)
        body = b"".join([piece async for piece in pieces])
        progress.note()
        progress.sent.set()
        async with self._turns.setdefault(
            (request.destination, request.connection), asyncio.Lock()
        ):
            if self.hold is not None:
                await self.hold.wait()
            if self.session_ended:
                raise LinkOfflineError
            self._arrived.discard(request.delivery)
            if request.behind and request.behind not in self._arrived:
                return PASSED_OVER
            answer = self.answer(request, body)
            if isinstance(answer, Delivered):
                self._arrived.add(request.delivery)
                self.got.append((request, body))
            return answer

    async def echoes(self, destination: str) -> bool:
        self.echoed.append(destination)
        return self.well

    @property
    def uids(self) -> list[str]:
        return [request.sop_instance for request, _ in self.got]


class Stage:
    """Put instances into it, queue them, serve the played Link. Its clock runs with `pass_time`."""

    def __init__(self, transcoder: Transcoder | None = None) -> None:
        self.rows = CommittedRows()
        self.records = Records(MemoryDatabase(self.rows))
        self.blobs = FolderBlobs(
            SimulatedDisk().mount(), InlineWorkers(), on_fatal=lambda _: None, max_object=9_000_000
        )
        self.bus, self.link, self.now = InProcessBus(), PlayedLink(), NOW
        self.transcoder = transcoder
        self.create_dispatch()

    def create_dispatch(self) -> None:
        """Create the dispatch over the records as they are now."""
        self.dispatch = Dispatch(
            deliveries=self.records.deliveries,
            instances=self.records.instances,
            blobs=self.blobs,
            configuration=self.records.configuration,
            alarms=self.records.alarms,
            bus=self.bus,
            clock=lambda: self.now,
            transcoder=self.transcoder,
            random=lambda: 0.5,
        )

    async def populate(self, *destinations: Destination) -> None:
        await self.blobs.open()
        await tenants(self.records)
        self.epoch = await admitted_link(self.records)
        document = dump(Configuration(destinations=destinations or (DESTINATION,)))
        await self.records.configuration.put(
            NORTH, "ward", document, author="test", now=NOW, event=EVENT
        )

    async def instance(self, uid: str, content: bytes = b"", **origin: Any) -> int:
        """Store and index one."""
        async with self.blobs.incoming(NORTH) as incoming:
            await incoming.write(memoryview(content or uid.encode()))
            digest = await incoming.finish()
        made = arrival(uid, epoch=self.epoch)
        identity = msgspec.structs.replace(made.identity, sha256=digest.sha256)
        made = msgspec.structs.replace(
            made,
            identity=identity,
            length=digest.length,
            origin=msgspec.structs.replace(made.origin, **origin),
        )
        receipt = await self.records.instances.commit(NORTH, made, now=self.now)
        await self.records.index_jobs.settle([indexed(receipt.id)], now=self.now)
        return receipt.id

    async def queue(self, *uids: str, target: Target = PACS, lane: str = "") -> None:
        wanted = [
            NewDelivery(
                target=target,
                kind=INSTANCE,
                reference=await self.instance(uid),
                lane=lane,
                cause="rule:r/1",
            )
            for uid in uids
        ]
        await self.records.deliveries.add(NORTH, wanted, now=self.now)

    async def states(self, target: Target = PACS) -> list[DeliveryState]:
        return [one.state for one in await self.deliveries(target)]

    async def deliveries(self, target: Target = PACS) -> list[Delivery]:
        search = DeliverySearch(link=target.link, destination=target.destination)
        return list((await self.records.deliveries.deliveries(NORTH, search)).items[::-1])

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.bus.publish(topic("ward"))

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait until something holds, which may be asked asynchronously."""
        async with asyncio.timeout(10):
            # of many stores
            while not (await found if asyncio.iscoroutine(found := holds()) else found):  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def settled(self, *states: DeliveryState, target: Target = PACS) -> None:
        async def holds() -> bool:
            return await self.states(target) == list(states)

        await self.until(holds)

    def serve(self, tasks: Tasks) -> "asyncio.Task[None]":
        return tasks.spawn(self.dispatch.serve_link(self.link), name="serve")
