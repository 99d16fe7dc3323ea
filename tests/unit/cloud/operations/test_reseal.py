"""Re-sealing a folder.

Nothing is left under the old key, and everything that was sealed is still the same.
"""

import datetime as dt
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from swallowtail.cloud.data_folder.certificates import PURPOSES, ensure_certificate, server_context
from swallowtail.cloud.data_folder.data_folder import DataFolder, DataFolderError, read_audit_keys
from swallowtail.cloud.operations.backup import BackupError, back_up
from swallowtail.cloud.operations.reseal import reseal
from swallowtail.cloud.operations.restore import restore
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from swallowtail.cloud.secrets.master_key import MasterKeyFile
from swallowtail.cloud.secrets.sealing import Seal, SealError
from tests.conformance.invented import NORTH, NOW
from tests.unit.cloud.operations.folders import make

SEALED = ("pepper.sealed", "audit.sealed", "ca.key", "server.key")


async def folder_of(path: Path) -> Path:
    """Create a data folder with everything that is sealed in one."""
    data = await make(path)
    start(data)
    return data


def start(data: Path, master_key: Path | None = None) -> tuple[bytes, bytes]:
    """Do what a start of the Cloud does with the folder's secrets.

    Return its pepper and its CA's public key.
    """
    folder = DataFolder(data, master_key)
    try:
        server_context(
            *ensure_certificate(folder.path, ["localhost"], dt.datetime.now(dt.UTC), folder.seal)
        )
        ca = folder.seal.open_key((data / "ca.key").read_bytes(), PURPOSES["ca.key"]).public_key()
        der = ca.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return folder.pepper(), der
    finally:
        folder.close()


async def verified(data: Path, master_key: Path | None = None) -> bool:
    """Do what a start does with the audit.

    Return whether a chain holds whose records are of before and after.
    """
    folder = DataFolder(data, master_key)
    keyring = folder.audit_keyring()
    folder.close()
    database = SqliteDatabase.open(
        data / "cloud.sqlite3",
        audit_keys=keyring.keys,
        on_fatal=lambda error: pytest.fail(str(error)),
    )
    records = Records(database)
    await keyring.settle(records.audit, now=NOW)
    verdict = await records.audit.verify(NORTH)
    await database.close()
    return verdict.broken_at is None


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_everything_is_sealed_anew_and_is_still_the_same(
    tmp_path: Path, elsewhere: bool
) -> None:
    data = await folder_of(tmp_path / "data")
    key = data / "master.key"
    if elsewhere:
        key = key.rename(tmp_path / "master.key")
    old, before = key.read_bytes(), start(data, key)
    contents = {name: (data / name).read_bytes() for name in SEALED}
    await reseal(data, key)
    assert len(key.read_bytes()) == 32
    assert key.read_bytes() != old
    assert {name for name in SEALED if (data / name).read_bytes() == contents[name]} == set()
    assert start(data, key) == before
    assert await verified(data, key)
    key.write_bytes(old)
    for name, purpose in PURPOSES.items():
        with pytest.raises(SealError):
            MasterKeyFile(key).seal().open_key((data / name).read_bytes(), purpose)
    with pytest.raises(SealError):
        DataFolder(data, key).pepper()


async def test_the_audit_has_a_new_key_and_its_old_records_still_verify(tmp_path: Path) -> None:
    data = await folder_of(tmp_path / "data")
    assert read_audit_keys(data).current == 1
    await reseal(data)
    assert read_audit_keys(data).current == 2
    assert await verified(data)
    await reseal(data)
    assert read_audit_keys(data).current == 3
    assert await verified(data)


async def test_keys_of_an_older_release_are_sealed_at_the_next_start(tmp_path: Path) -> None:
    data = await folder_of(tmp_path / "data")
    before = start(data)
    seal = MasterKeyFile(data / "master.key").seal()
    for name, purpose in PURPOSES.items():
        key = seal.open_key((data / name).read_bytes(), purpose)
        plain = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (data / name).write_bytes(plain)
    assert start(data) == before
    for name in PURPOSES:
        assert b"-----BEGIN PRIVATE KEY-----" not in (data / name).read_bytes()
        assert (data / name).stat().st_mode & 0o777 == 0o600


async def test_a_folder_that_a_cloud_has_open_is_refused(tmp_path: Path) -> None:
    folder = DataFolder(await folder_of(tmp_path / "data"))
    before = folder.master_key.path.read_bytes()
    with pytest.raises(DataFolderError, match="another Cloud runs"):
        await reseal(folder.path)
    assert folder.master_key.path.read_bytes() == before
    folder.close()


async def test_a_backup_taken_in_the_middle_can_be_restored(tmp_path: Path) -> None:
    data = await folder_of(tmp_path / "data")
    before = start(data)
    folder = DataFolder(data)
    folder.seal = folder.master_key.begin_replacement()
    folder.reseal_pepper()
    folder.close()
    await back_up(data, tmp_path / "backup", clock=lambda: NOW)
    await restore(tmp_path / "backup", tmp_path / "again")
    assert start(tmp_path / "again") == before
    await reseal(tmp_path / "again")
    assert len((tmp_path / "again" / "master.key").read_bytes()) == 32


async def test_a_backup_does_not_take_half_of_what_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = await folder_of(tmp_path / "data")
    read, numbers = Path.read_bytes, iter(range(1000))

    def changing(path: Path) -> bytes:
        return read(path) + str(next(numbers)).encode() if path.name == "server.key" else read(path)

    monkeypatch.setattr(Path, "read_bytes", changing)
    with pytest.raises(BackupError, match="change while they are read"):
        await back_up(data, tmp_path / "backup", clock=lambda: NOW)


def test_a_master_key_in_a_folder_that_cannot_be_written_is_not_half_replaced(
    tmp_path: Path,
) -> None:
    (tmp_path / "master.key").write_bytes(b"k" * 32)
    (tmp_path / "master.key").chmod(0o600)
    (tmp_path / "master.key.new").mkdir()  # as a read-only folder would
    with pytest.raises(SealError, match="must be writable"):
        MasterKeyFile(tmp_path / "master.key").begin_replacement()
    assert (tmp_path / "master.key").read_bytes() == b"k" * 32
    assert (
        Seal(b"k" * 32).open(MasterKeyFile(tmp_path / "master.key").seal().close(b"s", "p"), "p")
        == b"s"
    )
