"""A Cloud that stores, deletes, restores, purges and sweeps on simulated storage, and dies at any
step.
"""

import asyncio
import hashlib
import random
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from swallowtail.calls.store import (
    Committed,
)
from swallowtail.calls.transfer import TransferEnd
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import InlineWorkers
from swallowtail.cloud.ingest.store_instance import Ingest, InstanceKey, Upload
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.deletion import Scope, Selection
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import DAY, Principal, Role
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.retention.clock import SteadyClock
from swallowtail.cloud.retention.deleting import Deleting
from swallowtail.cloud.retention.purge import Purge, subject_of
from swallowtail.cloud.retention.sweep import BlobSweep
from tests.conformance.invented import EXPLICIT, NORTH, NOW, US, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase
from tests.doubles.simulated_disk import SimulatedDisk
from tests.store_tally import StoreTally
from tests.world.loop import Process, WorldLoop

ADMIN = Caller(
    Principal(id="admin", name="admin", role=Role.ADMINISTRATOR, tenant=NORTH), NORTH, address=""
)


def deletion_id(number: int) -> str:
    """Return the id of a deletion by its number."""
    return new_id(lambda size: number.to_bytes(size, "big"))


UPLOAD = Upload(actor="modality", address="192.0.2.1", facility="clinic")
Span = tuple[float, float]
"""When something began and ended; one that a kill cut off ended then."""


def content_of(number: int) -> bytes:
    """Return one of a few data sets."""
    return f"data set {number}".encode() * 50


class Retained:
    """The machine: rows and a platter that outlive its processes, and what its clients know."""

    def __init__(self, seed: int = 0) -> None:
        self.loop = WorldLoop(seed)
        self.random_source = random.Random(seed)
        self.offset = 0.0
        self.rows, self.platter = CommittedRows(), SimulatedDisk(clock=self.wall)
        self.acknowledged: dict[tuple[str, bytes], list[Span]] = {}
        self.removed: dict[str, list[Span]] = {}
        self.purges: list[Span] = []
        self.deletions = 0
        self.process = Process(self.loop, "none")
        self.loop.run(self._provision())

    def wall(self) -> float:
        """Return the time of day."""
        return NOW + self.offset + self.loop.time()

    async def _provision(self) -> None:
        await tenants(Records(MemoryDatabase(self.rows)))
        await self._start()

    async def _start(self) -> None:
        """Start a process on what is there."""
        random_source = self.random_source
        self.process = Process(self.loop, "cloud")
        database = MemoryDatabase(self.rows, delay=lambda: random_source.expovariate(1000))
        workers = InlineWorkers(delay=lambda: random_source.expovariate(2000))
        self.blobs = FolderBlobs(self.platter.mount(), workers, on_fatal=lambda error: None)
        self.records = records = Records(database)
        steady = SteadyClock(self.wall, self.wall)
        self.ingest = Ingest(records.instances, self.blobs, clock=self.wall, meter=StoreTally())
        self.deleting = Deleting(
            records.deletions,
            records.organisations,
            records.audit,
            clock=self.wall,
            random=lambda size: self.deletions.to_bytes(size, "big"),
            wake_link=lambda _: None,
            wake_index=lambda: None,
        )
        self.purge = Purge(records.deletions, records.retentions, clock=self.wall, steady=steady)
        self.sweep = BlobSweep(
            self.blobs, records.unreferenced_blobs, records.instances, records.inventory.tenants,
            clock=self.wall, steady=steady,
        )  # fmt: skip
        await self.process.spawn(self.blobs.open())

    def run(
        self,
        works: list[Coroutine[Any, Any, object]],
        *,
        kill_after: int | None = None,
        power: bool = False,
    ) -> None:
        """Run these side by side.

        With `kill_after` the process dies after so many steps and another one starts.
        """
        self.loop.run(self._run(works, kill_after, power))
        assert self.loop.problems == [], self.loop.problems

    async def _run(
        self, works: list[Coroutine[Any, Any, object]], kill_after: int | None, power: bool
    ) -> None:
        process = self.process
        if kill_after is not None:
            process.after_steps(kill_after, lambda: self._kill(power))
        tasks = [process.spawn(work) for work in works]
        # one that died wakes nobody
        while process.alive and not all(task.done() for task in tasks):  # noqa: ASYNC110
            await asyncio.sleep(0.0005)
        process.defuse()
        if not process.alive:
            await self._start()
            return
        for task in tasks:
            task.result()

    def _kill(self, power: bool) -> None:
        self.process.kill()
        if power:
            self.platter.crash()
        else:
            self.platter.kill()

    # what clients do; each notes when it began before anything, so that a kill leaves it noted

    async def store(
        self, uid: str, number: int, *, give_up: float | None = None, late: float = 0.0
    ) -> None:
        """Store a data set, `late` by so long; what is acknowledged is noted.

        `give_up`: the sender leaves after so long.
        """
        await asyncio.sleep(late)
        began, content = self.loop.time(), content_of(number)
        key = InstanceKey(US, uid, EXPLICIT)
        storing = asyncio.ensure_future(self.ingest.upload(NORTH, UPLOAD, key, _body(content)))  # noqa: TID251
        try:
            async with asyncio.timeout(give_up):
                answer = await storing
        except TimeoutError:
            return
        assert isinstance(answer, Committed), answer
        identity = (uid, hashlib.sha256(content).digest())
        self.acknowledged.setdefault(identity, []).append((began, self.loop.time()))

    async def delete(self, uid: str) -> None:
        """Delete an instance with its copies."""
        spans, began = self.removed.setdefault(uid, []), self.loop.time()
        spans.append((began, float("inf")))
        place, self.deletions = len(spans) - 1, self.deletions + 1
        try:
            await self.deleting.delete_instance(ADMIN, Scope(sop_instance=uid), "test")
        except NotFoundError:
            pass
        finally:
            spans[place] = (began, self.loop.time())

    async def restore(self, number: int) -> None:
        """Restore a deletion, if there is one of this number."""
        try:
            await self.deleting.restore(ADMIN, deletion_id(number), Selection())
        except NotFoundError:
            return

    async def purge_now(self, number: int) -> None:
        """Purge a deletion, if there is one of this number."""
        await self._purging(self._purge_one(number))

    async def purge_expired(self) -> None:
        """Purge what has expired."""
        await self._purging(self.purge.look())

    async def sweep_now(self) -> None:
        """Remove what no row refers to, without waiting.

        What may wait 7 days must be safe at once.
        """
        await self.sweep.walk()
        await self.sweep.sweep(before=self.wall())

    async def _purge_one(self, number: int) -> None:
        try:
            found = await self.deleting.deletion(ADMIN, deletion_id(number))
        except NotFoundError:
            return
        await self.purge.purge(ADMIN, found.id, subject_of(found.scope))

    async def _purging(self, work: Coroutine[Any, Any, None]) -> None:
        began = self.loop.time()
        self.purges.append((began, float("inf")))
        place = len(self.purges) - 1
        try:
            await work
        finally:
            self.purges[place] = (began, self.loop.time())

    # what must hold

    def check(self) -> None:
        """Hold what is there against what the clients were told."""
        live, deleted = (self._rows_of(table) for table in ("instance", "deleted_instance"))
        files = self.platter.durable_files()
        for _, digest, _ in live + deleted:
            content = files.get(f"blobs/{NORTH}/{digest.hex()[:2]}/{digest.hex()}")
            assert content is not None, "a row without its blob"
            assert hashlib.sha256(content).digest() == digest
        for uid in {uid for uid, _, _ in live}:
            assert sum(visible for one, _, visible in live if one == uid) == 1, uid
        shown, kept = {row[:2] for row in live}, {row[:2] for row in live + deleted}
        for identity, spans in self.acknowledged.items():
            session_ended = self.removed.get(identity[0], [])
            if any(all(end <= began for _, end in session_ended) for began, _ in spans):
                assert identity in shown, "acknowledged, not deleted since, and not there"
            if any(all(end <= began for _, end in self.purges) for began, _ in spans):
                assert identity in kept, "acknowledged, not purged since, and lost"

    def blobs_left(self) -> set[str]:
        """Name the blobs on the platter."""
        return {
            path.rpartition("/")[2] for path in self.platter.files() if path.startswith("blobs/")
        }

    def referenced(self) -> set[str]:
        """Name the blobs that a row refers to."""
        return {
            digest.hex()
            for table in ("instance", "deleted_instance")
            for _, digest, _ in self._rows_of(table)
        }

    def _rows_of(self, table: str) -> list[tuple[str, bytes, bool]]:
        connection = self.rows.connection
        with connection.begin():
            found = connection.exec_driver_sql(
                f"SELECT sop_instance, sha256, visible FROM {table}"
            ).all()
        return [(uid, digest, bool(visible)) for uid, digest, visible in found]

    def wait(self, days: float) -> None:
        """Let time pass."""
        self.offset += days * DAY

    def close(self) -> None:
        """End it."""
        self.loop.close()
        self.rows.close()


async def _body(content: bytes) -> AsyncIterator[memoryview | TransferEnd]:
    yield memoryview(content)
    yield TransferEnd(length=len(content), crc32=zlib.crc32(content))


Act = Callable[[Retained], Coroutine[Any, Any, None]]
