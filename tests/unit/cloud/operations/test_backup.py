import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swallowtail.cloud.data_folder.data_folder import (
    DataFolder,
    DataFolderError,
    lock_folder,
    read_audit_keys,
)
from swallowtail.cloud.operations import restore as restoring
from swallowtail.cloud.operations.backup import BackupError, Manifest, back_up, prune, snapshots
from swallowtail.cloud.operations.commands import check_folder
from swallowtail.cloud.operations.restore import restore
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from tests.conformance.invented import NORTH, NOW
from tests.unit.cloud.operations.folders import blob, contents, make, sql, store

SECONDS = itertools.count()


async def snapshot(data: Path, target: Path, **options: bool) -> tuple[str, Manifest]:
    """Take a snapshot, each a second after the one before."""
    return await back_up(data, target, clock=lambda: NOW + next(SECONDS), **options)  # type: ignore[arg-type]


async def add(data: Path, uid: str, content: str) -> None:
    database = SqliteDatabase.open(
        data / "cloud.sqlite3",
        audit_keys=read_audit_keys(data),
        on_fatal=lambda error: pytest.fail(str(error)),
    )
    await store(Records(database), data, NORTH, uid, content)
    await database.close()


async def test_a_restored_folder_holds_what_the_backed_up_one_held(tmp_path: Path) -> None:
    data, again = await make(tmp_path / "data"), tmp_path / "again"
    _, manifest = await snapshot(data, tmp_path / "backup")
    assert (manifest.blobs, manifest.bytes, manifest.missing) == (3, 16, [])
    _, missing = await restore(tmp_path / "backup", again)
    assert missing == []
    restored, original = contents(again), contents(data)
    restored.pop("cloud.sqlite3")
    original.pop("cloud.sqlite3")
    assert restored == original
    assert (await check_folder(again, rehash=True, progress=lambda _: None)).faults == 0
    assert {file.stat().st_mode & 0o077 for file in again.rglob("*")} == {0}
    DataFolder(again).close()


async def test_a_second_snapshot_copies_what_is_new_and_both_can_be_restored(
    tmp_path: Path,
) -> None:
    data, backup = await make(tmp_path / "data"), tmp_path / "backup"
    first, _ = await snapshot(data, backup)
    copied = blob(backup, NORTH, "heron")
    inode = copied.stat().st_ino
    await add(data, "1.2.9", "dunlin")
    second, manifest = await snapshot(data, backup)
    assert snapshots(backup) == [first, second]
    assert manifest.blobs == 4
    assert copied.stat().st_ino == inode
    await restore(backup, tmp_path / "old", snapshot=first)
    await restore(backup, tmp_path / "new")
    assert not blob(tmp_path / "old", NORTH, "dunlin").exists()
    assert blob(tmp_path / "new", NORTH, "dunlin").read_bytes() == b"dunlin"


async def test_what_is_stored_while_the_backup_runs_is_in_it_whole_or_not_at_all(
    tmp_path: Path,
) -> None:
    data, backup = await make(tmp_path / "data"), tmp_path / "backup"
    added = []

    def progress(_: object) -> None:  # the database is copied by now
        if not added:
            added.append(blob(data, NORTH, "dunlin"))
            added[0].write_bytes(b"dunlin")
            sql(data, "UPDATE instance SET sha256 = x'00', length = 9 WHERE id = 1")

    await back_up(data, backup, clock=lambda: NOW + next(SECONDS), progress=progress)
    await restore(backup, tmp_path / "again")
    assert (
        await check_folder(tmp_path / "again", rehash=True, progress=lambda _: None)
    ).faults == 0


async def test_a_damaged_data_set_is_listed_and_the_rest_is_backed_up(tmp_path: Path) -> None:
    data, backup = await make(tmp_path / "data"), tmp_path / "backup"
    blob(data, NORTH, "plover").write_bytes(b"PLOVER")
    _, manifest = await snapshot(data, backup)
    assert [(one.organisation, one.instance) for one in manifest.missing] == [("north", 2)]
    assert manifest.blobs == 3
    with pytest.raises(BackupError, match="1 data sets of this snapshot are missing or damaged"):
        await restore(backup, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    _, missing = await restore(backup, tmp_path / "again", allow_missing=True)
    assert [one.instance for one in missing] == [2]
    assert blob(tmp_path / "again", NORTH, "heron").exists()


async def test_a_data_set_that_rots_in_the_backup_is_not_restored(tmp_path: Path) -> None:
    data, backup = await make(tmp_path / "data"), tmp_path / "backup"
    await snapshot(data, backup)
    blob(backup, NORTH, "plover").write_bytes(b"PLOVER")
    with pytest.raises(BackupError, match="--allow-missing"):
        await restore(backup, tmp_path / "again")
    with pytest.raises(DataFolderError, match="has not ended"):
        DataFolder(tmp_path / "again")


@pytest.mark.parametrize("name", ["cloud.sqlite3", "files/master.key", "files/pepper.sealed"])
async def test_a_damaged_snapshot_is_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    data, backup = await make(tmp_path / "data"), tmp_path / "backup"
    made, _ = await snapshot(data, backup)
    with (backup / "snapshots" / made / name).open("r+b") as file:
        file.write(b"?")
    with pytest.raises(BackupError, match=f"{name} is missing or damaged; choose another snapshot"):
        await restore(backup, tmp_path / "again")
    assert not (tmp_path / "again").exists()


async def test_an_interrupted_restore_is_refused_by_a_cloud_and_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, backup, again = await make(tmp_path / "data"), tmp_path / "backup", tmp_path / "again"
    await snapshot(data, backup)
    with monkeypatch.context() as patched:
        patched.setattr(
            restoring,
            "_place_files",
            lambda *_: (_ for _ in ()).throw(OSError("the machine stops here")),
        )
        with pytest.raises(OSError, match="stops here"):
            await restore(backup, again)
    with pytest.raises(DataFolderError, match="run `swallowtail cloud restore` again"):
        DataFolder(again)
    await restore(backup, again)
    DataFolder(again).close()


async def test_a_folder_in_use_is_not_restored_into(tmp_path: Path) -> None:
    data, backup = await make(tmp_path / "data"), tmp_path / "backup"
    await snapshot(data, backup)
    before = contents(data)
    with pytest.raises(BackupError, match="is not empty; move it elsewhere"):
        await restore(backup, data)
    assert contents(data) == before


async def test_an_interrupted_backup_is_no_snapshot_and_the_next_one_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, backup = await make(tmp_path / "data"), tmp_path / "backup"
    with pytest.raises(RuntimeError, match="stops here"):
        await back_up(
            data,
            backup,
            clock=lambda: NOW,
            progress=lambda _: (_ for _ in ()).throw(RuntimeError("stops here")),
        )
    assert snapshots(backup) == []
    with pytest.raises(BackupError, match="there is no whole snapshot"):
        await restore(backup, tmp_path / "again")
    name, _ = await snapshot(data, backup)
    assert [path.name for path in (backup / "snapshots").iterdir()] == [name]


async def test_older_snapshots_are_removed_with_the_blobs_that_they_alone_refer_to(
    tmp_path: Path,
) -> None:
    data, backup = await make(tmp_path / "data"), tmp_path / "backup"
    await snapshot(data, backup)
    sql(data, "DELETE FROM instance WHERE id = 2")
    kept, _ = await snapshot(data, backup)
    assert await prune(backup, keep=2) == 0
    assert blob(backup, NORTH, "plover").exists()
    assert await prune(backup, keep=1) == 1
    assert snapshots(backup) == [kept]
    assert not blob(backup, NORTH, "plover").exists()
    assert blob(backup, NORTH, "heron").exists()


async def test_the_master_key_can_be_kept_elsewhere(tmp_path: Path) -> None:
    data, backup, again = await make(tmp_path / "data"), tmp_path / "backup", tmp_path / "again"
    made, _ = await snapshot(data, backup, with_master_key=False)
    assert not list(backup.rglob("master.key"))
    assert (
        "master.key"
        not in json.loads((backup / "snapshots" / made / "manifest.json").read_bytes())["files"]
    )
    await restore(backup, again)
    assert restoring.lacks_master_key(again)
    with pytest.raises(DataFolderError, match="is missing although"):
        DataFolder(again)


async def test_two_backups_do_not_share_a_folder_at_once(tmp_path: Path) -> None:
    data, backup = await make(tmp_path / "data"), tmp_path / "backup"
    await snapshot(data, backup)
    with (
        _locked(backup),
        pytest.raises(DataFolderError, match="another backup is being taken into"),
    ):
        await snapshot(data, backup)
    assert len(snapshots(backup)) == 1


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = lock_folder(folder, "")
    yield
    os.close(lock)


async def test_a_backup_inside_the_data_folder_is_refused(tmp_path: Path) -> None:
    data = await make(tmp_path / "data")
    with pytest.raises(BackupError, match="inside the data folder; name a folder on another disk"):
        await snapshot(data, data / "backup")
    assert not (data / "backup").exists()
