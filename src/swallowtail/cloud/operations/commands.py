"""The composition root of the commands on a data folder."""

import time
from pathlib import Path

from swallowtail.cloud.auditing.heads import ExportedHead, HeadFile, HeadFileError
from swallowtail.cloud.data_folder.data_folder import (
    AUDIT_HEADS,
    DATABASE,
    check_embedded,
    read_audit_keys,
)
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.operations.backup import blob_folders
from swallowtail.cloud.operations.check import Check, CheckReport, Fault, Progress
from swallowtail.cloud.records.reading import SqliteReader
from swallowtail.cloud.records.records import Records


async def check_folder(
    data: Path,
    *,
    rehash: bool,
    progress: Progress,
    audit_heads: Path | None = None,
    master_key: Path | None = None,
) -> CheckReport:
    """Check a data folder.

    Raises DataFolderError, StorageUnavailableError or SealError when its database or its audit keys
    cannot be opened.
    """
    check_embedded(data)
    # which states best what is wrong with a folder that is not one
    SqliteReader.open(data / DATABASE)
    keys = read_audit_keys(data, master_key)
    exported, altered = _exported(
        HeadFile(audit_heads or data / AUDIT_HEADS, keys)
    )  # before the chains, which grow
    database = SqliteReader.open(data / DATABASE, keys)
    damage = await database.damage(quick=not rehash)
    records = Records(database)
    async with blob_folders(data, data) as (blobs, _):
        check = Check(
            inventory=records.inventory,
            instances=records.instances,
            blobs=blobs,
            audit=records.audit,
            exported=exported,
            clock=time.time,
            rehash=rehash,
            progress=progress,
        )
        for line in damage:
            check.report.add(Fault.DATABASE_DAMAGED, "(all)", line)
        if altered:
            check.report.add(Fault.CHAIN_BROKEN, "(all)", altered)
        return await check.run()


def _exported(file: HeadFile) -> tuple[dict[Tenant, ExportedHead], str]:
    try:
        return file.read() or {}, ""
    except HeadFileError as error:
        return {}, str(error)
