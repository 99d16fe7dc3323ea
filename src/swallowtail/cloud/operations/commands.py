"""The composition root of the commands on a data folder."""

import time
from pathlib import Path

from swallowtail.cloud.folder import DATABASE
from swallowtail.cloud.operations.backup import blob_folders
from swallowtail.cloud.operations.check import Check, Fault, Progress, Report
from swallowtail.cloud.records.reading import SqliteReader
from swallowtail.cloud.records.records import Records


async def check_folder(data: Path, *, rehash: bool, progress: Progress) -> Report:
    """Check a data folder; raises StorageUnavailableError when its database cannot be opened."""
    database = SqliteReader.open(data / DATABASE)
    damage = await database.damage(quick=not rehash)
    records = Records(database)
    async with blob_folders(data, data) as (blobs, _):
        check = Check(
            inventory=records.inventory,
            instances=records.instances,
            blobs=blobs,
            audit=records.audit,
            clock=time.time,
            rehash=rehash,
            progress=progress,
        )
        for line in damage:
            check.report.add(Fault.DATABASE_DAMAGED, "(all)", line)
        return await check.run()
