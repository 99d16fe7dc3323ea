"""The blob folder at every crash point, on a full disk, and on one whose fsync fails."""

import asyncio
import errno
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from swallowtail.cloud.blobs.disk import OpenFile, OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import InlineWorkers, ThreadWorkers
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from tests.doubles.simulated_disk import MountedDisk, SimulatedDisk

NORTH = Tenant("north")
SMALL = b"a data set"
LARGE = bytes(3_000_000)


class Crash(BaseException):
    """The machine loses power."""


class CountingDisk(MountedDisk):
    """Counts its changing calls, and crashes at one of them; `skips` names calls that are left out.

    A planted fault.
    """

    def __init__(self, platter: SimulatedDisk, *, crash_at: int = -1, skips: str = "") -> None:
        super().__init__(platter)
        self.calls = 0
        self.crash_at = crash_at
        self.skips = skips

    def step(self) -> None:
        self.calls += 1
        if self.calls == self.crash_at:
            self._platter.crash()
            raise Crash

    def create(self, path: str) -> OpenFile:
        self.step()
        return CountingFile(self, super().create(path))

    def make_folder(self, path: str) -> bool:
        if not path.startswith("blobs/north/"):  # 256 of them, all alike
            self.step()
        return super().make_folder(path)

    def rename(self, old: str, new: str) -> None:
        self.step()
        super().rename(old, new)

    def unlink(self, path: str) -> None:
        self.step()
        super().unlink(path)

    def fsync_folder(self, path: str) -> None:
        self.step()
        if self.skips != "fsync_folder":
            super().fsync_folder(path)


class CountingFile:
    def __init__(self, disk: CountingDisk, file: OpenFile) -> None:
        self.disk, self.file = disk, file

    def write(self, views: list[memoryview]) -> None:
        self.disk.step()
        self.file.write(views)

    def fsync(self) -> None:
        self.disk.step()
        if self.disk.skips != "fsync":
            self.file.fsync()

    def close(self) -> None:
        self.file.close()


def blobs_on(disk: MountedDisk) -> FolderBlobs:
    return FolderBlobs(disk, InlineWorkers(), on_fatal=lambda _: None)


async def put(blobs: FolderBlobs, content: bytes) -> bytes:
    async with blobs.incoming(NORTH) as incoming:
        for start in range(0, len(content), 65_528):
            await incoming.write(memoryview(content)[start : start + 65_528])
        return (await incoming.finish()).sha256


class CrashingWorkers(InlineWorkers):
    """Lets the crash of a job reach whoever awaits it."""

    def _run(self, job: Callable[[], object], future: "asyncio.Future[object]") -> None:
        def guarded() -> object:
            try:
                return job()
            except Crash as crash:
                raise StorageUnavailableError("crashed") from crash

        super()._run(guarded, future)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_at_every_crash_point_a_blob_is_whole_or_absent_and_durable_once_acknowledged(
    content: bytes,
) -> None:
    digest = hashlib.sha256(content).digest()
    name = f"blobs/north/{digest.hex()[:2]}/{digest.hex()}"
    outcomes = set()
    for crash_at in range(1, 100):
        platter = SimulatedDisk()
        disk = CountingDisk(platter, crash_at=crash_at)
        acknowledged = False
        try:
            blobs = FolderBlobs(disk, CrashingWorkers(), on_fatal=lambda _: None)
            await blobs.open()
            acknowledged = await put(blobs, content) == digest
        except StorageUnavailableError:
            assert disk.calls >= crash_at
        platter.crash()
        left = platter.files()
        assert left.get(name, content) == content
        again = blobs_on(platter.mount())
        assert await again.open() == len([path for path in left if path.startswith("incoming/")])
        assert await put(again, content) == digest
        assert await again.verify(NORTH, digest)
        assert not acknowledged or name in left
        outcomes.add(acknowledged)
        if disk.calls < crash_at:
            break
    assert outcomes == {False, True}


@pytest.mark.parametrize("skips", ["fsync", "fsync_folder"])
async def test_a_planted_missing_fsync_is_found_by_a_crash(skips: str) -> None:
    platter = SimulatedDisk()
    blobs = blobs_on(CountingDisk(platter, skips=skips))
    await blobs.open()
    digest = await put(blobs, SMALL)
    platter.crash()
    assert not await blobs_on(platter.mount()).verify(NORTH, digest)


async def test_a_blob_whose_bringer_died_before_the_folders_fsync_is_made_durable_by_the_next() -> (
    None
):
    platter = SimulatedDisk()
    blobs = blobs_on(CountingDisk(platter, skips="fsync_folder"))
    await blobs.open()
    for folder in ("", "blobs", "blobs/north"):
        await put(blobs, SMALL)
        platter.mount().fsync_folder(folder)
    survivor = blobs_on(platter.mount())
    digest = await put(survivor, SMALL)
    platter.crash()
    assert await blobs_on(platter.mount()).verify(NORTH, digest)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_a_full_disk_is_said_leaves_nothing_and_recovers(content: bytes) -> None:
    platter = SimulatedDisk()
    blobs = blobs_on(platter.mount())
    await blobs.open()
    platter.full = True
    with pytest.raises(StorageUnavailableError, match="no space left"):
        await put(blobs, content)
    assert platter.files() == {}
    platter.full = False
    await put(blobs, content)
    assert len(platter.files()) == 1


async def test_a_failed_fsync_is_fatal_and_never_an_acknowledgement() -> None:
    platter, reported = SimulatedDisk(), []
    blobs = FolderBlobs(platter.mount(), InlineWorkers(), on_fatal=reported.append)
    await blobs.open()
    platter.failing = True
    with pytest.raises(StorageUnavailableError, match="must stop"):
        await put(blobs, SMALL)
    assert len(reported) == 1


async def test_a_damaged_blob_is_neither_overwritten_nor_acknowledged() -> None:
    platter = SimulatedDisk()
    blobs = blobs_on(platter.mount())
    await blobs.open()
    await put(blobs, SMALL)
    file = next(
        iter(
            platter.root.entries["blobs"]
            .entries["north"]
            .entries[hashlib.sha256(SMALL).hexdigest()[:2]]
            .entries.values()
        )
    )
    del file.content[3:]
    with pytest.raises(StorageUnavailableError, match="restore"):
        await put(blobs, SMALL)
    assert list(platter.files().values()) == [SMALL[:3]]


async def test_files_of_a_dead_process_are_removed_at_start_and_blobs_are_private(
    tmp_path: Path,
) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "7").write_bytes(b"half")
    workers = ThreadWorkers(1)
    blobs = FolderBlobs(OsDisk(tmp_path), workers, on_fatal=lambda _: None)
    assert await blobs.open() == 1
    digest = await put(blobs, SMALL)
    path = blobs.path(NORTH, digest)
    assert path is not None
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    await workers.close()


async def test_cancelling_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    workers = ThreadWorkers(1)
    blobs = FolderBlobs(OsDisk(tmp_path), workers, on_fatal=lambda _: None)
    await blobs.open()

    async def endless() -> None:
        async with blobs.incoming(NORTH) as incoming:
            while True:
                await incoming.write(memoryview(LARGE))

    task = asyncio.ensure_future(endless())  # noqa: TID251 - no owner in a test
    while not list((tmp_path / "incoming").iterdir()):  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list((tmp_path / "incoming").iterdir()) == []
    await workers.close()


async def test_a_real_full_disk_is_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: int, _views: list[memoryview]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    workers = ThreadWorkers(1)
    blobs = FolderBlobs(OsDisk(tmp_path), workers, on_fatal=lambda _: None)
    await blobs.open()
    with monkeypatch.context() as patched:
        patched.setattr("os.writev", refuse)
        with pytest.raises(StorageUnavailableError, match="No space left"):
            await put(blobs, SMALL)
    assert list((tmp_path / "incoming").iterdir()) == []
    await workers.close()
