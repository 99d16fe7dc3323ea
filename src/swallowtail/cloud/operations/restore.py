"""Restoring a snapshot into an empty data folder.

The folder carries `restore.incomplete` until everything is in place and durable; a Cloud refuses to
start on it, and the same command continues where it was interrupted.
"""

import os
import shutil
from pathlib import Path

from swallowtail.cloud.data_folder.data_folder import (
    DATABASE,
    LOCK,
    MASTER_KEY,
    RESTORING,
    lock_folder,
)
from swallowtail.cloud.operations.backup import (
    FILES,
    SNAPSHOTS,
    BackupError,
    Manifest,
    Missing,
    Progress,
    blob_folders,
    copy_blobs,
    read_manifest,
    snapshots,
    sync,
)
from swallowtail.cloud.operations.check import references
from swallowtail.cloud.records.reading import SqliteReader
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.secrets.private_files import write_private


async def restore(
    backup: Path,
    data: Path,
    *,
    snapshot: str | None = None,
    allow_missing: bool = False,
    progress: Progress = lambda _: None,
) -> tuple[str, list[Missing]]:
    """Restore a snapshot, by default the newest; return its name and the blobs that it lacks.

    Raises BackupError when the data folder is not empty, when the snapshot is damaged, and, unless
    `allow_missing`, when a blob is missing or damaged in the backup.
    """
    name = _choose(backup, snapshot)
    folder = backup / SNAPSHOTS / name
    manifest = read_manifest(folder)
    records = Records(SqliteReader.open(folder / DATABASE))
    if not allow_missing:
        _refuse_missing(await _missing_before(records, backup), backup)
    lock = _prepare(data)
    try:
        async with blob_folders(backup, data) as (source, target):
            await target.open()
            result = await copy_blobs(records, source, target, progress)
        if not allow_missing:
            _refuse_missing(result.missing, backup)
        _place_files(folder, data, manifest)
        return name, result.missing
    finally:
        os.close(lock)


def _choose(backup: Path, snapshot: str | None) -> str:
    names = snapshots(backup)
    if not names:
        raise BackupError(
            f"there is no whole snapshot in {backup}; name the folder of `cloud backup`"
        )
    if snapshot is None:
        return names[-1]
    if snapshot not in names:
        raise BackupError(
            f"there is no snapshot {snapshot} in {backup}; there are: {', '.join(names)}"
        )
    return snapshot


async def _missing_before(records: Records, backup: Path) -> list[Missing]:
    """Return the blobs that the backup lacks by name or length, before anything is written."""
    missing: list[Missing] = []
    async with blob_folders(backup, backup) as (source, _):
        for tenant, name in await records.inventory.tenants():
            missing += [
                Missing(name, reference.sha256.hex(), reference.instance)
                async for reference in references(records.inventory, tenant)
                if await source.length(tenant, reference.sha256) != reference.length
            ]
    return missing


def _refuse_missing(missing: list[Missing], backup: Path) -> None:
    if missing:
        raise BackupError(
            f"{len(missing)} data sets of this snapshot are missing or damaged in {backup}, the"
            f" first is {missing[0].sha256} of organisation {missing[0].organisation}; choose"
            " another snapshot, or restore without them with --allow-missing"
        )


def _prepare(data: Path) -> int:
    """Create and mark the data folder, or find one that this command has marked.

    Return its lock.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        left = {path.name for path in data.iterdir()} - {LOCK}
    except OSError as error:
        raise BackupError(
            f"cannot use {data}: {error.strerror}; name another folder with --data"
        ) from error
    if left and RESTORING not in left:
        raise BackupError(
            f"{data} is not empty; move it elsewhere, or name another folder with --data"
        )
    lock = lock_folder(data, "another process uses {path}; stop it, or name another folder")
    write_private(data / RESTORING, b"`swallowtail cloud restore` has not ended\n")
    return lock


def _place_files(folder: Path, data: Path, manifest: Manifest) -> None:
    """Copy the small files and, last, the database.

    The folder is complete when the mark no longer exists.
    """
    for name in manifest.files:
        write_private(data / name, (folder / FILES / name).read_bytes())
    new = data / f"{DATABASE}.new"
    shutil.copyfile(folder / DATABASE, new)
    new.chmod(0o600)
    sync(new)
    new.rename(data / DATABASE)
    sync(data)
    (data / RESTORING).unlink()
    sync(data)


def lacks_master_key(data: Path) -> bool:
    """Return whether the restored folder needs its master key from elsewhere."""
    return not (data / MASTER_KEY).exists()
