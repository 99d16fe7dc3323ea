"""The programs of the crash-point sweep.

The Cloud's commit path on its real adapters, from a store's first byte to its answer.
"""

import asyncio
import json
import os
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import structlog

from swallowtail.calls.store import (
    Committed,
    StoreRequest,
)
from swallowtail.calls.transfer import TransferEnd
from swallowtail.cloud.blobs.disk import OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import ThreadWorkers
from swallowtail.cloud.ingest.store_instance import Ingest
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.deletion import NewDeletion, Scope
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import (
    Admitted,
    Facility,
    Link,
    Organisation,
    SecurityCode,
    Tenant,
)
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from swallowtail.cloud.retention.clock import SteadyClock
from swallowtail.cloud.retention.purge import Purge
from swallowtail.cloud.retention.sweep import BlobSweep
from tests.doubles.memory_database import INVENTED_KEYS
from tests.store_tally import StoreTally

TENANT: Final = Tenant("heron")
LINK: Final = "ward"
NOW: Final = 1_790_000_000.0
EVENT: Final = AuditEvent(
    event=EventId.APPLICATION_ACTIVITY, action=EventAction.UPDATE, type="test", actor="crash"
)
UID: Final = "1.2.826.0.1.3680043.10.999.1"
DATA: Final = bytes(range(256)) * 40
FATAL: Final = 70
"""How the Cloud exits when its disk has failed under it."""
FAILED: Final = 71
"""How this subject exits when the store was answered with a failure."""

REQUEST: Final = StoreRequest(
    listener="main",
    peer="10.0.0.9",
    calling_ae="US1",
    called_ae="SWALLOWTAIL",
    association=bytes(16),
    sop_class="1.2.840.10008.5.1.4.1.1.6.1",
    sop_instance=UID,
    transfer_syntax="1.2.840.10008.1.2.1",
)


class _Cloud:
    """The stores of a folder, as `cloud.server` opens them, with one worker thread."""

    def __init__(self, folder: Path) -> None:
        self.database = SqliteDatabase.open(
            folder / "cloud.sqlite3", audit_keys=INVENTED_KEYS, on_fatal=_fatal
        )
        self.workers = ThreadWorkers(1)
        self.blobs = FolderBlobs(OsDisk(folder), self.workers, on_fatal=_fatal)
        self.records = Records(self.database)
        self.ingest = Ingest(
            self.records.instances, self.blobs, clock=lambda: NOW, meter=StoreTally()
        )

    async def admit(self) -> int:
        """Begin a session of the Link."""
        admission = await self.records.links.admit(
            bytes(32), bytes(32), address="10.0.0.2", now=NOW
        )
        assert isinstance(admission, Admitted)
        return admission.link.epoch

    async def store(self, epoch: int) -> bool:
        """Store the one instance; True when it was committed."""
        return isinstance(await self.ingest.store(TENANT, LINK, epoch, REQUEST, _body()), Committed)

    async def close(self) -> None:
        """End the threads."""
        await self.workers.close()
        await self.database.close()


def _fatal(_: StorageUnavailableError) -> None:
    os._exit(FATAL)


async def _body() -> AsyncIterator[memoryview | TransferEnd]:
    view = memoryview(DATA)
    for start in range(0, len(DATA), 4096):
        yield view[start : start + 4096]
    yield TransferEnd(length=len(DATA), crc32=zlib.crc32(DATA))


def provision(folder: Path, go: Callable[[], None]) -> None:
    """Make the folder that every other subject gets a copy of."""

    async def main() -> None:
        cloud = _Cloud(folder)
        await cloud.blobs.open()
        organisations, links = cloud.records.organisations, cloud.records.links
        await organisations.add_organisation(
            Organisation(id=TENANT, name="heron", created=NOW), now=NOW, event=EVENT
        )
        clinic = Facility(id="clinic", name="clinic", time_zone="Europe/Zurich")
        await organisations.put_facility(TENANT, clinic, now=NOW, event=EVENT)
        link = Link(id=LINK, facility="clinic", name=LINK, created=NOW)
        await links.add(
            TENANT, link, SecurityCode(digest=bytes(32), until=NOW + 60), now=NOW, event=EVENT
        )
        await cloud.close()

    go()
    asyncio.run(main())


def store(folder: Path, go: Callable[[], None]) -> None:
    """Store an instance and answer its sender by a datagram to the socket `answers`.

    Exits with FAILED when it was not stored.
    """

    async def main() -> bool:
        cloud = _Cloud(folder)
        await cloud.blobs.open()
        epoch = await cloud.admit()
        await cloud.records.links.link(TENANT, LINK)  # a reader has its connection
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as answers:
            go()
            stored = await cloud.store(epoch)
            answers.sendto(b"0000" if stored else b"A700", str(folder / "answers"))
        return stored

    if not asyncio.run(main()):
        raise SystemExit(FAILED)


def sweep(folder: Path, go: Callable[[], None]) -> None:
    """Purge a deleted instance, sweep its blob, then store it again, which is answered as in
    `store`.
    """

    async def main() -> bool:
        cloud = _Cloud(folder)
        await cloud.blobs.open()
        epoch = await cloud.admit()
        assert await cloud.store(epoch)
        new = NewDeletion(
            id="d",
            scope=Scope(sop_instance=UID),
            reason="crash",
            deleted=NOW,
            deleted_by="crash",
            until=NOW,
        )
        await cloud.records.deletions.delete(TENANT, new, limit=9, now=NOW, event=EVENT)
        records, steady = cloud.records, SteadyClock(lambda: NOW, lambda: NOW)
        purge = Purge(records.deletions, records.retentions, clock=lambda: NOW, steady=steady)
        blobs = BlobSweep(
            cloud.blobs, records.unreferenced_blobs, records.instances, records.inventory.tenants,
            clock=lambda: NOW, steady=steady,
        )  # fmt: skip
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as answers:
            go()
            await purge.look()
            await blobs.sweep(before=NOW)
            stored = await cloud.store(epoch)
            answers.sendto(b"0000" if stored else b"A700", str(folder / "answers"))
        return stored

    structlog.configure(
        logger_factory=structlog.ReturnLoggerFactory()
    )  # standard output is the zygote's
    if not _succeeds(main):
        raise SystemExit(FAILED)


def _succeeds(main: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
    try:
        return asyncio.run(main())
    except (
        StorageUnavailableError
    ):  # the disk refused the purge or the sweep, as it may: both are tried again
        return False


def inspect(folder: Path, go: Callable[[], None]) -> None:
    """Start the Cloud again.

    Write what it shows before and after the instance is sent once more into `report.json`.
    """

    async def main() -> None:
        cloud = _Cloud(folder)
        left = await cloud.blobs.open()
        before = await _shown(cloud)
        resent = await cloud.store(await cloud.admit())
        report = {
            "before": before,
            "left": left,
            "resent": resent,
            "after": await _shown(cloud),
            "audit": await _audit(cloud),
        }
        (folder / "report.json").write_text(json.dumps(report))
        await cloud.close()

    go()
    asyncio.run(main())


async def _shown(cloud: _Cloud) -> list[list[bool]]:
    """Give for every copy of the instance whether it is visible and whether its blob is whole."""
    copies = await cloud.records.instances.copies(TENANT, UID)
    return [
        [copy.visible, await cloud.blobs.verify(TENANT, copy.identity.sha256)] for copy in copies
    ]


async def _audit(cloud: _Cloud) -> bool:
    return (await cloud.records.audit.verify(TENANT)).broken_at is None
