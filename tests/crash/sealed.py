"""The subject of the re-seal's crash points."""

import asyncio
import datetime as dt
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from swallowtail.cloud.data_folder.certificates import ensure_certificate
from swallowtail.cloud.data_folder.data_folder import DataFolder
from swallowtail.cloud.model.audit import AuditEvent, AuditKeys, EventAction, EventId
from swallowtail.cloud.model.exporting import AuditReceiver, key_purpose
from swallowtail.cloud.model.tenancy import OPERATOR
from swallowtail.cloud.operations.reseal import reseal as reseal_folder
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from swallowtail.cloud.secrets.sealing import Seal

EVENT = AuditEvent(
    event=EventId.APPLICATION_ACTIVITY, action=EventAction.UPDATE, type="test", actor="crash"
)


def provision(folder: Path, go: Callable[[], None]) -> None:
    """Make the folder that every other subject gets a copy of."""
    data = DataFolder(folder)
    data.pepper()
    data.audit_keyring().add_key()
    ensure_certificate(data.path, ["localhost"], dt.datetime.now(dt.UTC), data.seal)
    keys = data.audit_keyring().keys
    data.close()
    go()
    asyncio.run(_make_database(data.database, keys))


async def _make_database(path: Path, keys: AuditKeys) -> None:
    database = SqliteDatabase.open(path, audit_keys=keys, on_fatal=lambda _: None)
    key = Seal((path.parent / "master.key").read_bytes()).close_key(
        ec.generate_private_key(ec.SECP256R1()), key_purpose(OPERATOR)
    )
    receiver = AuditReceiver(host="arr.example", port=6514, key=key)
    await Records(database).audit_exports.put(OPERATOR, receiver, whole=True, now=0.0, event=EVENT)
    await database.close()


def reseal(folder: Path, go: Callable[[], None]) -> None:
    """Replace the master key."""
    go()
    asyncio.run(reseal_folder(folder))
