import os
from collections.abc import Callable
from pathlib import Path

import pytest

from swallowtail.cloud.auditing.heads import ExportedHead, HeadFile
from swallowtail.cloud.data_folder.data_folder import read_audit_keys
from swallowtail.cloud.model.audit import ChainHead
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.operations.check import REMEDIES, CheckReport, Fault
from swallowtail.cloud.operations.commands import check_folder
from swallowtail.cloud.records.reading import SqliteReader
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.secrets.sealing import SealError
from tests.conformance.invented import NORTH, NOW, SOUTH, digest
from tests.unit.cloud.operations.folders import blob, make, sql


async def check(path: Path, *, rehash: bool = True) -> CheckReport:
    return await check_folder(path, rehash=rehash, progress=lambda _: None)


def found(report: CheckReport) -> set[tuple[Fault, str]]:
    return {(finding.fault, finding.organisation) for finding in report.findings}


async def test_a_sound_folder_has_no_findings_and_everything_is_counted(tmp_path: Path) -> None:
    report = await check(await make(tmp_path / "data"))
    assert report.faults == 0
    counted = [
        (one.organisation, one.instances, one.blobs, one.bytes, one.waiting)
        for one in report.organisations
    ]
    assert counted == [("north", 2, 2, 11, 0), ("south", 1, 1, 5, 0)]
    assert all(one.audit_records for one in report.organisations)


async def test_the_check_changes_nothing(tmp_path: Path) -> None:
    path = await make(tmp_path / "data")
    before = {
        file: file.stat().st_mtime_ns
        for file in path.rglob("*")
        if "sqlite3-" not in file.name and file.is_file()
    }
    await check(path)
    assert {file: file.stat().st_mtime_ns for file in before} == before


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda path: blob(path, NORTH, "plover").unlink(), Fault.BLOB_MISSING),
        (lambda path: flip(blob(path, NORTH, "plover")), Fault.BLOB_DAMAGED),
        (lambda path: blob(path, NORTH, "plover").write_bytes(b"plove"), Fault.BLOB_DAMAGED),
        (
            lambda path: sql(path, "DELETE FROM index_document WHERE instance = 2"),
            Fault.DOCUMENT_MISSING,
        ),
        (
            lambda path: sql(path, "DELETE FROM audit WHERE tenant = 'north' AND sequence = 2"),
            Fault.CHAIN_BROKEN,
        ),
    ],
)
async def test_each_fault_is_found_and_ascribed(
    tmp_path: Path, damage: Callable[[Path], None], fault: Fault
) -> None:
    path = await make(tmp_path / "data")
    damage(path)
    report = await check(path)
    assert found(report) == {(fault, "north")}
    assert report.faults == 1
    assert fault in REMEDIES


async def exported(path: Path) -> ChainHead:
    """Export the present heads of a folder's chains; return that of NORTH's."""
    keys = read_audit_keys(path)
    heads = await Records(SqliteReader.open(path / "cloud.sqlite3", keys)).audit.heads()
    HeadFile(path / "audit-heads.json", keys).write(
        [ExportedHead(head=one, at=NOW) for one in heads]
    )
    return next(one for one in heads if one.tenant == NORTH)


async def test_a_chain_that_was_cut_behind_its_exported_head_is_found(tmp_path: Path) -> None:
    path = await make(tmp_path / "data")
    head = await exported(path)
    assert (await check(path)).faults == 0
    sql(
        path,
        f"DELETE FROM audit WHERE tenant = 'north' AND sequence = {head.sequence}",
        f"UPDATE audit_head SET sequence = {head.sequence - 1}, digest = (SELECT digest FROM audit"
        f" WHERE tenant = 'north' AND sequence = {head.sequence - 1}) WHERE tenant = 'north'",
    )
    assert found(await check(path)) == {(Fault.CHAIN_BROKEN, "north")}
    (path / "audit-heads.json").write_text("{}")
    assert found(await check(path)) == {(Fault.CHAIN_BROKEN, "(all)")}


async def test_a_folder_without_its_audit_keys_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = await make(tmp_path / "data")
    (path / "audit.sealed").unlink()
    with pytest.raises(SealError, match="restore it from a backup"):
        await check(path)


async def test_a_quick_check_sees_lengths_and_not_bytes(tmp_path: Path) -> None:
    path = await make(tmp_path / "data")
    flip(blob(path, NORTH, "plover"))
    assert (await check(path, rehash=False)).faults == 0
    blob(path, SOUTH, "heron").write_bytes(b"her")
    assert found(await check(path, rehash=False)) == {(Fault.BLOB_DAMAGED, "south")}


async def test_a_blob_without_a_row_is_counted_and_is_no_fault(tmp_path: Path) -> None:
    path = await make(tmp_path / "data")
    orphan = blob(path, NORTH, "nobody's")
    orphan.write_bytes(b"nobody's")
    assert [one.orphans for one in (await check(path)).organisations] == [
        0,
        0,
    ]  # it may be on its way
    os.utime(orphan, (1, 1))
    report = await check(path)
    assert [(one.orphans, one.orphan_bytes) for one in report.organisations] == [(1, 8), (0, 0)]
    assert report.faults == 0


async def test_a_damaged_database_is_a_finding(tmp_path: Path) -> None:
    path = await make(tmp_path / "data")
    sql(path, "CREATE TABLE extra (a)")
    sql(path, "INSERT INTO extra VALUES (NULL)")
    sql(
        path,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE extra (a NOT NULL)' WHERE name = 'extra'",
    )
    assert found(await check(path)) == {(Fault.DATABASE_DAMAGED, "(all)")}


async def test_what_is_no_data_folder_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        StorageUnavailableError, match="does not exist; name the data folder of a Cloud"
    ):
        await check(tmp_path)


async def test_another_releases_database_is_refused(tmp_path: Path) -> None:
    path = await make(tmp_path / "data")
    sql(path, "UPDATE alembic_version SET version_num = 'older'")
    with pytest.raises(StorageUnavailableError, match="belongs to another release"):
        await check(path)


async def test_findings_name_the_blob_and_no_patient(tmp_path: Path) -> None:
    path = await make(tmp_path / "data")
    blob(path, NORTH, "plover").unlink()
    (finding,) = (await check(path)).findings
    assert finding.subject == f"blob {digest('plover').hex()} of instance 2"
