"""Replaces the master key of a data folder: every sealed secret is sealed again, under a new key.

The file of the master key first holds both keys, the new one before the old one, and at the end the
new one alone. Whatever was sealed under either opens meanwhile, so that a crash at any step leaves
a folder that a Cloud starts on, and the command continues when it is run again. The audit gets a
new key too; the pepper stays, since every code and token would change with it.
"""

from pathlib import Path

from swallowtail.cloud.data_folder.certificates import reseal_keys
from swallowtail.cloud.data_folder.data_folder import DataFolder, check_embedded
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.records.sealed import reseal_rows
from swallowtail.cloud.records.sqlite import SqliteDatabase


async def reseal(data: Path, master_key: Path | None = None) -> None:
    """Replace the master key of a folder that no Cloud has open.

    Raises DataFolderError or SealError.
    """
    check_embedded(data)
    folder = DataFolder(data, master_key)
    try:
        folder.seal = folder.master_key.begin_replacement()
        folder.reseal_pepper()
        folder.audit_keyring().reseal()
        reseal_keys(folder.path, folder.seal)
        if folder.database.exists():
            await _reseal_database(folder)
        folder.master_key.end_replacement()
    finally:
        folder.close()


async def _reseal_database(folder: DataFolder) -> None:
    def fail(_: StorageUnavailableError) -> None:
        """Leave the error to the write, which raises it."""

    database = SqliteDatabase.open(
        folder.database, audit_keys=folder.audit_keyring().keys, on_fatal=fail
    )
    try:
        await database.write(lambda unit: reseal_rows(unit.connection, folder.seal))
    finally:
        await database.close()
