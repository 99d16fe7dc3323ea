"""The Cloud's machine.

The real session server, use cases and ports over a platter and rows that outlive the process.

Every process gets its own mount of the platter and its own access to the rows. When it dies, both
are dead: what it has not fsynced is lost if the power went, what it has not committed is lost in
any case.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from swallowtail.calls.config import Configuration, Destination, Device, dump
from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.cloud.blobs.disk import Disk, FileFacts, OpenFile
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import InlineWorkers
from swallowtail.cloud.bus.in_process import InProcessBus
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.credentials import KeyedHash, mint_code
from swallowtail.cloud.model.delivery import Rule, RuleAction, Target
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Facility, Link, Organisation, SecurityCode, Tenant
from swallowtail.cloud.records.records import Records
from swallowtail.wire.transport import SUBPROTOCOL, TransportClosedError
from tests.doubles.memory_database import CommittedRows, MemoryDatabase
from tests.doubles.simulated_disk import SimulatedDisk, _File, _Folder
from tests.world.composition import compose
from tests.world.loop import Killed, WorldLoop
from tests.world.machines import CLOUD_PORT, EPOCH, Machine
from tests.world.network import Host
from tests.world.oracle import Row
from tests.world.parts import Parts
from tests.world.uplink import SimulatedUplink, serve

TENANT: Final = Tenant("heron")
LINK: Final = "ward"
EVENT: Final = AuditEvent(
    event=EventId.APPLICATION_ACTIVITY, action=EventAction.UPDATE, type="test", actor="world"
)
DAY: Final = 86_400.0
EPOCH_AND_NEWEST: Final = (
    "SELECT coalesce((SELECT max(epoch) FROM link), 0), coalesce((SELECT max(id) FROM instance), 0)"
)


class WatchedRows(CommittedRows):
    """The rows, with an eye on one thing.

    What is committed under an epoch that was over before the commit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stale: list[str] = []
        self.on_commit: Callable[[], None] = lambda: None

    def run(self, intents: list[Any]) -> list[Any]:
        ((epoch, newest),) = self.ask(EPOCH_AND_NEWEST)
        results = super().run(intents)
        for uid, committed in self.ask(
            f"SELECT sop_instance, epoch FROM instance WHERE id > {newest}"
        ):
            if committed < epoch:
                self.stale.append(
                    f"{uid} was committed by epoch {committed} when epoch {epoch} had begun"
                )
        self.on_commit()
        return results

    def ask(self, statement: str) -> Sequence[Any]:
        """Read what is committed."""
        with self.connection.begin():
            return self.connection.exec_driver_sql(statement).all()


class PlatterArchive:
    """What a restart after a loss of power would find."""

    def __init__(self, cloud: "CloudMachine") -> None:
        self._cloud = cloud

    def rows(self) -> list[Row]:
        """Give all committed rows."""
        found = self._cloud.rows.ask(
            "SELECT sop_instance, transfer_syntax, sha256, visible FROM instance"
        )
        return [
            Row(uid, syntax, sha256.hex(), bool(visible)) for uid, syntax, sha256, visible in found
        ]

    def blob(self, digest: str) -> bytes | None:
        """Give a blob that is fsynced, its name and all the folders on the way included."""
        place: Any = self._cloud.platter.root
        for part in ("blobs", TENANT, digest[:2], digest):
            place = place.durable.get(part) if isinstance(place, _Folder) else None
        return place.durable if isinstance(place, _File) else None


class MortalDisk:
    """A disk whose process can be told to die at one of its calls, before or after it."""

    def __init__(self, disk: Disk, on_call: Callable[[], None]) -> None:
        self._disk = disk
        self._on_call = on_call

    def create(self, path: str) -> OpenFile:
        self._on_call()
        return _MortalFile(self._disk.create(path), self._on_call)

    def make_folder(self, path: str) -> bool:
        self._on_call()
        return self._disk.make_folder(path)

    def rename(self, old: str, new: str) -> None:
        self._on_call()
        self._disk.rename(old, new)

    def unlink(self, path: str) -> None:
        self._on_call()
        self._disk.unlink(path)

    def fsync_folder(self, path: str) -> None:
        self._on_call()
        self._disk.fsync_folder(path)

    def list(self, path: str) -> list[str]:
        return self._disk.list(path)

    def facts(self, path: str) -> FileFacts | None:
        return self._disk.facts(path)

    def read(self, path: str, offset: int, length: int) -> bytes:
        return self._disk.read(path, offset, length)


class _MortalFile:
    def __init__(self, file: OpenFile, on_call: Callable[[], None]) -> None:
        self._file = file
        self._on_call = on_call

    def write(self, views: Sequence[memoryview]) -> None:
        self._on_call()
        self._file.write(views)

    def fsync(self) -> None:
        self._on_call()
        self._file.fsync()

    def close(self) -> None:
        self._file.close()


class CloudMachine(Machine):
    """The Cloud's machine."""

    def __init__(self, host: Host, loop: WorldLoop, seed: object, parts: Parts) -> None:
        super().__init__("cloud", host, loop, seed)
        minting = random.Random(f"{seed}/code")
        self.parts = parts
        self.platter = SimulatedDisk(clock=self.wall)
        self.rows = WatchedRows()
        self.hashes = KeyedHash(minting.randbytes(32))
        self.code = mint_code(minting.randbytes)
        self.random_bytes = minting.randbytes
        self.document = Configuration()
        self.speed = minting.choice((1000, 100, 10))
        """Commits a second that the storage makes."""
        self.bus = InProcessBus()
        self.delivers = False
        """Whether it indexes what comes and has the rules judge it, as the real one does."""
        self._mortal: tuple[int, bool] | None = None

    async def program(self) -> None:
        """Open the stores, then serve every Link that comes."""
        random_source = self.random_source
        self.bus = InProcessBus()
        speed = self.speed
        database = MemoryDatabase(self.rows, delay=lambda: random_source.expovariate(speed))
        workers = InlineWorkers(delay=lambda: random_source.expovariate(2 * speed))
        disk = MortalDisk(self.parts.disk(self.platter.mount()), self._at_disk)
        blobs = FolderBlobs(disk, workers, on_fatal=self._stop_at_once)
        await blobs.open()
        made = compose(self, Records(database), blobs)
        assert self.process is not None
        if self.delivers:
            for name, work in (
                ("index", made.indexer.run(alone=True)),
                ("routing", made.router.run()),
            ):
                self.process.spawn(work, name=name).add_done_callback(self._ended)
        await serve(
            self.host,
            self.host.address,
            CLOUD_PORT,
            lambda end: made.sessions(*_asgi(end)),
            self.process.spawn,
        )

    def _stop_at_once(self, _: StorageUnavailableError) -> None:
        """A failed fsync: nothing that this process believes of its disk holds any more."""
        self.kill()
        raise Killed

    def kill_at_disk_call(self, number: int, *, power: bool) -> None:
        """Let the process die at its so many next call of the disk."""
        self._mortal = (number, power)

    def defuse(self) -> None:
        super().defuse()
        self._mortal = None

    def _at_disk(self) -> None:
        if self._mortal is not None:
            left, power = self._mortal
            self._mortal = (left - 1, power) if left > 1 else None
            if self._mortal is None:
                self.kill(power=power)
                raise Killed

    def drop(self) -> None:
        self._mortal = None
        if self._silent:
            self.platter.crash()
        else:
            self.platter.generation += (
                1  # the kernel lives on and keeps what was written; the process's mount is dead
            )

    # what an administrator does, straight in the store

    def _records(self) -> Records:
        return Records(MemoryDatabase(self.rows))

    async def reconfigure(self, random_source: random.Random | None = None) -> None:
        """Publish the document, with changes that disturb no sender when there are dice."""
        document = self.document
        if random_source is not None:
            extra = tuple(
                DicomListener(name=f"extra{port}", ae_title="EXTRA", port=port)
                for port in range(1104, 1107)
                if random_source.random() < 0.5
            )
            main = self.document.listeners[0]
            document = msgspec.structs.replace(self.document, listeners=(main, *extra))
        try:
            await self._records().configuration.put(
                TENANT, LINK, dump(document), author="world", now=self.wall(), event=EVENT
            )
        except StorageUnavailableError:
            return
        self.bus.publish(f"link/{LINK}")

    async def rotate_code(self, random_source: random.Random) -> str:
        """Replace the security code and give the new one."""
        code = mint_code(random_source.randbytes)
        unavailable, self.rows.unavailable = self.rows.unavailable, False
        await self._records().links.rotate(
            TENANT,
            LINK,
            SecurityCode(digest=self.hashes.of_code(code), until=self.wall() + DAY),
            now=self.wall(),
            event=EVENT,
        )
        self.rows.unavailable = unavailable
        self.bus.publish(f"link/{LINK}")
        return code


async def provision(
    cloud: CloudMachine,
    devices: dict[str, str],
    ae_title: str,
    port: int,
    destinations: Sequence[Destination] = (),
) -> None:
    """Make the organisation, its Link, the Link's configuration, and a rule that sends what comes
    to every destination.
    """
    records, now = cloud._records(), EPOCH
    await records.organisations.add_organisation(
        Organisation(id=TENANT, name="heron", created=now), now=now, event=EVENT
    )
    await records.organisations.put_facility(
        TENANT,
        Facility(id="clinic", name="clinic", time_zone="Europe/Zurich"),
        now=now,
        event=EVENT,
    )
    code = SecurityCode(digest=cloud.hashes.of_code(cloud.code), until=now + DAY)
    await records.links.add(
        TENANT, Link(id=LINK, facility="clinic", name=LINK, created=now), code, now=now, event=EVENT
    )
    cloud.document = Configuration(
        listeners=(DicomListener(name="main", ae_title=ae_title, port=port),),
        devices=tuple(
            Device(name=name.lower(), ae_title=name, addresses=(address,))
            for name, address in devices.items()
        ),
        destinations=tuple(destinations),
    )
    if destinations:
        action = RuleAction(
            targets=tuple(Target(link=LINK, destination=one.name) for one in destinations)
        )
        rule = Rule(id="all", name="all", position=1, action=action, created=now, changed=now)
        await records.rules.put(TENANT, rule, now=now, event=EVENT)
    await cloud.reconfigure()


def _asgi(end: SimulatedUplink) -> tuple[Scope, Receive, Send]:
    """Present an uplink as the web server presents a WebSocket: ASGI's scope, receive and send."""
    greeted = False
    came: deque[bytes] = deque()

    async def receive() -> dict[str, Any]:
        nonlocal greeted
        if not greeted:
            greeted = True
            return {"type": "websocket.connect"}
        try:
            if not came:
                came.extend(await end.receive())
            return {"type": "websocket.receive", "bytes": came.popleft()}
        except TransportClosedError as error:
            return {"type": "websocket.disconnect", "code": error.code, "reason": error.text}

    async def send(message: Any) -> None:
        try:
            match message["type"]:
                case "websocket.send":
                    await end.send([message["bytes"]])
                case "websocket.close":
                    await end.close(message.get("code", 1000), message.get("reason") or "")
        except TransportClosedError as error:
            raise RuntimeError(str(error)) from error

    scope = {
        "type": "websocket",
        "path": "/link",
        "headers": [],
        "query_string": b"",
        "client": end.peer,
        "subprotocols": [SUBPROTOCOL],
    }
    return scope, receive, send
