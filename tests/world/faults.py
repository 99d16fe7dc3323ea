"""Faulty components, each a mistake that somebody could make, put into the world through its seams.

No switch in the product.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from swallowtail.calls.deliver import DeliverRequest, NotDelivered
from swallowtail.calls.responses import Situation
from swallowtail.calls.store import StoreAnswer, Stored
from swallowtail.cloud.blobs.disk import Disk, OpenFile
from swallowtail.cloud.dispatch.connection import EXTEND_EVERY
from swallowtail.cloud.dispatch.runner import _Served
from swallowtail.cloud.model.delivery import Claim, DestinationState, Lease, Target
from swallowtail.cloud.model.imaging import Arrival, Origin, Receipt
from swallowtail.cloud.model.ports.instances import Instances
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.link.scp.services.storage.store_machine import StoreRelay
from swallowtail.link.scu.connection import Line
from swallowtail.link.scu.outcomes import STATUSES, Row
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.session import SessionMachine
from tests.world.delivering import DeliveringWorld
from tests.world.network import Host, Port
from tests.world.oracle import Rule
from tests.world.parts import Parts
from tests.world.selective import SelectiveWorld
from tests.world.world import World

RESPONDED_MESSAGE_ID: Final = struct.pack("<HHI", 0x0000, 0x0120, 2)


class _Wrapper:
    """Everything as it is, but for what a subclass does differently."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class AckBeforeCommit(_Wrapper):
    """Says that an instance is committed, then commits it."""

    def __init__(self, inner: Instances) -> None:
        super().__init__(inner)
        self._tasks = Tasks("late commits")

    async def commit(self, tenant: Tenant, arrival: Arrival, *, now: float) -> Receipt:
        self._tasks.spawn(self._inner.commit(tenant, arrival, now=now), name="commit")
        await asyncio.sleep(0)
        return Receipt(id=0, stored=Stored.NEW)


class NoFolderFsync(_Wrapper):
    """Fsyncs files but not the folders that hold their names."""

    def fsync_folder(self, path: str) -> None:
        """Nothing."""


class NoFileFsync(_Wrapper):
    """Fsyncs folders but not what is in the files."""

    def create(self, path: str) -> OpenFile:
        return _NeverSynced(self._inner.create(path))


class _NeverSynced(_Wrapper):
    def fsync(self) -> None:
        """Nothing."""

    def write(self, views: Sequence[memoryview]) -> None:
        self._inner.write(views)


def any_epoch(connection: Connection, tenant: Tenant, origin: Origin) -> str:
    """Commit for every session of a Link, whether it was replaced or not."""
    return "clinic"


class DeafToSilence(SessionMachine):
    """A session that never finds out that its peer is silent."""

    def next_timeout(self) -> float | None:
        return super().next_timeout() if not self.ready else None

    def handle_timeout(self, now: float) -> None:
        if not self.ready:
            super().handle_timeout(now)


class Optimist(StoreRelay):
    """Takes every answer of the Cloud for a success."""

    def answered(self, answer: StoreAnswer, now: float) -> None:
        self._over(Situation.STORED)


class Patient(StoreRelay):
    """Waits for the Cloud's answer as long as the session lives."""

    def whole(self, now: float) -> None:
        super().whole(now)
        if self._answer_by is not None:
            self._answer_by += 3600


class WrongMessageId(_Wrapper):
    """A network that makes Link's responses name the next message."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)

    async def listen(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> Port:
        def lying() -> asyncio.BaseProtocol:
            protocol = factory()
            made = protocol.connection_made
            protocol.connection_made = lambda transport: made(_Lying(transport))  # type: ignore[method-assign,assignment,arg-type]
            return protocol

        opened: Port = await self._inner.listen(lying, host, port)
        return opened


class _Lying(_Wrapper):
    def write(self, data: bytes) -> None:
        at = data.find(RESPONDED_MESSAGE_ID)
        if at >= 0:
            at += len(RESPONDED_MESSAGE_ID)
            data = (
                data[:at]
                + struct.pack("<H", int.from_bytes(data[at : at + 2], "little") + 1)
                + data[at + 2 :]
            )
        self._inner.write(data)


class LeasesLapse(_Wrapper):
    """Takes short leases, and believes that they are kept without asking for it."""

    async def claim(self, *what: Any, now: float, until: float, **more: Any) -> Claim:
        claimed: Claim = await self._inner.claim(
            *what, now=now, until=min(until, now + EXTEND_EVERY + 1.0), **more
        )
        return claimed

    async def extend(self, leases: Sequence[Lease], *, until: float) -> frozenset[int]:
        return frozenset(lease.delivery.id for lease in leases)


class Overtaker(Line):
    """Sends what was asked for behind a delivery although that has failed."""

    def _judge(self, request: DeliverRequest) -> NotDelivered | None:
        return super()._judge(msgspec.structs.replace(request, behind=0))


class Forgetful(Line):
    """Sends what was asked for behind a delivery that it has not begun itself."""

    def _judge(self, request: DeliverRequest) -> NotDelivered | None:
        unbegun = super()._judge(request)
        if unbegun is not None:
            self._note_sent(request)
        return unbegun


def never(*_: object) -> bool:
    """Leave every attempt out of the history."""
    return False


def as_it_was(state: DestinationState) -> DestinationState:
    """Leave a breaker as it is when the destination answers again."""
    return state


def success(status: int) -> Row:
    """Take every status of a destination for a success."""
    return STATUSES[0]


class OneAtATime(_Served[Any]):
    """Sends to one destination of a Link at a time."""

    def _start(self, target: Target) -> None:
        if all(name == target.destination for name, _ in self._running):
            super()._start(target)


@dataclass(frozen=True)
class Fault:
    """A mistake, the rules of the oracle of which one must find it, and the worlds in which it
    shows.
    """

    parts: Parts
    rules: frozenset[Rule]
    world: type[World] = World


def _in_deliveries(parts: Parts, *rules: Rule, world: type[World] = DeliveringWorld) -> Fault:
    return Fault(parts, frozenset(rules), world)


FAULTS: Final[dict[str, Fault]] = {
    "ack before commit": Fault(
        Parts(instances=AckBeforeCommit), frozenset({Rule.FALSE_SUCCESS, Rule.LOST})
    ),
    "no folder fsync": Fault(Parts(disk=NoFolderFsync), frozenset({Rule.FALSE_SUCCESS, Rule.LOST})),
    "no file fsync": Fault(Parts(disk=NoFileFsync), frozenset({Rule.FALSE_SUCCESS, Rule.LOST})),
    "epoch ignored": Fault(
        Parts(patches=(("swallowtail.cloud.records.instances._admissible_facility", any_epoch),)),
        frozenset({Rule.FENCE}),
    ),
    "answer carries another message id": Fault(
        Parts(network=WrongMessageId), frozenset({Rule.WRONG_MESSAGE})
    ),
    "silent uplink without deadline": Fault(
        Parts(patches=(("swallowtail.link.uplink.SessionMachine", DeafToSilence),)),
        frozenset({Rule.ECHO, Rule.STUCK}),
    ),
    "every answer is a success": Fault(
        Parts(patches=(("swallowtail.link.scp.services.storage.storage.StoreRelay", Optimist),)),
        frozenset({Rule.FALSE_SUCCESS, Rule.LOST}),
    ),
    "no deadline for the Cloud's answer": Fault(
        Parts(patches=(("swallowtail.link.scp.services.storage.storage.StoreRelay", Patient),)),
        frozenset({Rule.LATE, Rule.SILENT}),
    ),
    "delivery doubled after a lapsed lease": _in_deliveries(
        Parts(deliveries=LeasesLapse), Rule.DELIVERED_TWICE
    ),
    "lane order broken": _in_deliveries(
        Parts(patches=(("swallowtail.link.scu.destinations.Line", Overtaker),)), Rule.OUT_OF_ORDER
    ),
    "follower of one that was not begun is sent": _in_deliveries(
        Parts(patches=(("swallowtail.link.scu.destinations.Line", Forgetful),)),
        Rule.OUT_OF_ORDER,
        Rule.DELIVERED_TWICE,
        world=SelectiveWorld,
    ),
    "attempts are left out of the history": _in_deliveries(
        Parts(patches=(("swallowtail.cloud.dispatch.connection._has_begun", never),)),
        Rule.UNRECORDED,
    ),
    "a refused context is tried again": _in_deliveries(
        Parts(patches=(("swallowtail.link.scu.connection.PERMANENT", frozenset()),)),
        Rule.DELAYED_BY_ANOTHER,
        world=SelectiveWorld,
    ),
    "breaker that never closes": _in_deliveries(
        Parts(patches=(("swallowtail.cloud.dispatch.planner._closed", as_it_was),)),
        Rule.BREAKER_STUCK,
    ),
    "every status of a destination is a success": _in_deliveries(
        Parts(patches=(("swallowtail.link.scu.connection.row_of", success),)), Rule.UNDELIVERED
    ),
    "one destination after the other": _in_deliveries(
        Parts(patches=(("swallowtail.cloud.dispatch.runner._Served", OneAtATime),)),
        Rule.DELAYED_BY_ANOTHER,
    ),
}
"""What the oracle must find."""

_: Disk  # the seam that the disk's faults stand in
