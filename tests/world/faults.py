"""Faulty components, each a mistake that somebody could make, put into the world through its seams: no switch in the product."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from swallowtail.calls.answers import Situation
from swallowtail.calls.store import StoreAnswer, Stored
from swallowtail.cloud.blobs.disk import Disk, OpenFile
from swallowtail.cloud.model.imaging import Arrival, Origin, Receipt
from swallowtail.cloud.model.ports import Instances
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.link.store import StoreRelay
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.session import SessionMachine
from tests.world.network import Host, Port
from tests.world.oracle import Rule
from tests.world.parts import Parts

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

    async def listen(self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> Port:
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
            data = data[:at] + struct.pack("<H", int.from_bytes(data[at : at + 2], "little") + 1) + data[at + 2 :]
        self._inner.write(data)


FAULTS: Final[dict[str, tuple[Parts, frozenset[Rule]]]] = {
    "ack before commit": (Parts(instances=AckBeforeCommit), frozenset({Rule.FALSE_SUCCESS, Rule.LOST})),
    "no folder fsync": (Parts(disk=NoFolderFsync), frozenset({Rule.FALSE_SUCCESS, Rule.LOST})),
    "no file fsync": (Parts(disk=NoFileFsync), frozenset({Rule.FALSE_SUCCESS, Rule.LOST})),
    "epoch ignored": (
        Parts(patches=(("swallowtail.cloud.records.instances._admissible_facility", any_epoch),)),
        frozenset({Rule.FENCE}),
    ),
    "answer carries another message id": (Parts(network=WrongMessageId), frozenset({Rule.WRONG_MESSAGE})),
    "silent uplink without deadline": (
        Parts(patches=(("swallowtail.link.uplink.SessionMachine", DeafToSilence),)),
        frozenset({Rule.ECHO, Rule.STUCK}),
    ),
    "every answer is a success": (
        Parts(patches=(("swallowtail.link.modality.StoreRelay", Optimist),)),
        frozenset({Rule.FALSE_SUCCESS, Rule.LOST}),
    ),
    "no deadline for the Cloud's answer": (
        Parts(patches=(("swallowtail.link.modality.StoreRelay", Patient),)),
        frozenset({Rule.LATE, Rule.SILENT}),
    ),
}
"""Each fault, and the rules of the oracle of which one must find it."""

_: Disk  # the seam that the disk's faults stand in
