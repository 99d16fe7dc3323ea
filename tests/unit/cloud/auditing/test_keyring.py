"""The key file beside databases of every age.

Chains of older releases change once, a lost file is never replaced silently.
"""

import hashlib
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import delete, update

from swallowtail.cloud.auditing.keyring import AuditKeyring
from swallowtail.cloud.model.audit import GENESIS, UNKEYED, AuditKeys, ChainFault, event_bytes
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.records.database import Unit
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.schema import audit, audit_head
from swallowtail.cloud.secrets.sealing import Seal, SealError
from tests.conformance.invented import EVENT, NORTH, NOW, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase

SEAL = Seal(b"m" * 32)


def unkeyed(unit: Unit) -> None:
    """Make NORTH's chain one that a release before the keys has written."""
    digest = GENESIS
    for row in unit.connection.execute(
        audit.select().where(audit.c.tenant == NORTH).order_by(audit.c.sequence)
    ).all():
        digest = AuditKeys({1: bytes(32)}).digest(
            UNKEYED, digest, (NORTH, row.sequence, row.at), row.event
        )
        mine = (audit.c.tenant == NORTH) & (audit.c.sequence == row.sequence)
        unit.connection.execute(update(audit).where(mine).values(digest=digest, key=UNKEYED))
    unit.connection.execute(
        update(audit_head).where(audit_head.c.tenant == NORTH).values(digest=digest)
    )


class Started:
    """What a start of the Cloud makes of a key file and rows."""

    def __init__(self, path: Path, rows: CommittedRows, seal: Seal = SEAL) -> None:
        self.ring = AuditKeyring(path / "audit.sealed", seal)
        rows.audit_keys = self.ring.keys
        self.records = Records(MemoryDatabase(rows))

    async def settle(self) -> "Started":
        await self.ring.settle(self.records.audit, now=NOW)
        return self

    async def fault(self) -> ChainFault | None:
        return (await self.records.audit.verify(NORTH)).fault


@pytest.fixture
async def rows(tmp_path: Path) -> CommittedRows:
    """The rows of a Cloud whose chains have no key yet."""
    rows = CommittedRows()
    records = Records(MemoryDatabase(rows))
    await tenants(records)
    await MemoryDatabase(rows).write(
        lambda unit: unit.connection.execute(update(audit).values(key=UNKEYED))
    )
    await MemoryDatabase(rows).write(unkeyed)
    return rows


async def test_a_chain_of_an_older_release_is_keyed_from_a_record_on(
    tmp_path: Path, rows: CommittedRows
) -> None:
    cloud = await Started(tmp_path, rows).settle()
    await cloud.records.audit.append(NORTH, [EVENT], now=NOW)
    assert await cloud.fault() is None
    assert [one.event.type for one in (await cloud.records.audit.records(NORTH)).items][
        1
    ] == "audit.keyed"
    again = await Started(tmp_path, rows).settle()
    assert (await again.records.audit.head(NORTH)) == (await cloud.records.audit.head(NORTH))


async def test_a_chain_replaced_by_one_without_key_is_not_keyed_again(
    tmp_path: Path, rows: CommittedRows
) -> None:
    await Started(tmp_path, rows).settle()
    await MemoryDatabase(rows).write(unkeyed)
    cloud = await Started(tmp_path, rows).settle()
    assert await cloud.fault() is ChainFault.KEY


async def test_a_crash_before_the_chains_have_changed_is_made_good_at_the_next_start(
    tmp_path: Path, rows: CommittedRows
) -> None:
    cloud = Started(tmp_path, rows)
    rows.unavailable = True
    with pytest.raises(StorageUnavailableError):
        await cloud.settle()
    rows.unavailable = False
    assert (tmp_path / "audit.sealed").exists()
    assert await (await Started(tmp_path, rows).settle()).fault() is None


async def test_a_lost_key_file_is_never_replaced_silently(
    tmp_path: Path, rows: CommittedRows
) -> None:
    await Started(tmp_path, rows).settle()
    (tmp_path / "audit.sealed").unlink()
    with pytest.raises(SealError, match="restore it from a backup"):
        await Started(tmp_path, rows).settle()
    assert not (tmp_path / "audit.sealed").exists()


async def test_a_key_file_that_is_older_than_the_chains_is_refused(
    tmp_path: Path, rows: CommittedRows
) -> None:
    cloud = await Started(tmp_path, rows).settle()
    old = (tmp_path / "audit.sealed").read_bytes()
    cloud.ring.add_key()
    await (await Started(tmp_path, rows).settle()).records.audit.append(NORTH, [EVENT], now=NOW)
    (tmp_path / "audit.sealed").write_bytes(old)
    with pytest.raises(SealError, match="restore it from a backup"):
        await Started(tmp_path, rows).settle()


async def test_a_new_key_begins_every_chain_anew_and_the_old_part_still_verifies(
    tmp_path: Path, rows: CommittedRows
) -> None:
    (await Started(tmp_path, rows).settle()).ring.add_key()
    cloud = await Started(tmp_path, rows).settle()
    assert (
        cloud.ring.keys.current,
        await cloud.records.audit.newest_key(),
        await cloud.fault(),
    ) == (2, 2, None)

    def cut(unit: Unit) -> None:  # to the last record of the older key, which somebody may have
        records = unit.connection.execute(
            audit.select().where(audit.c.tenant == NORTH, audit.c.key == 1)
        ).all()
        unit.connection.execute(delete(audit).where(audit.c.tenant == NORTH, audit.c.key == 2))
        head = {"sequence": records[-1].sequence, "digest": records[-1].digest}
        unit.connection.execute(update(audit_head).where(audit_head.c.tenant == NORTH).values(head))

    await MemoryDatabase(rows).write(cut)
    assert await (await Started(tmp_path, rows).settle()).fault() is ChainFault.KEY


def test_a_key_file_under_another_master_key_says_what_to_do(tmp_path: Path) -> None:
    ring = AuditKeyring(tmp_path / "audit.sealed", SEAL)
    ring.add_key()
    with pytest.raises(SealError, match="master key"):
        AuditKeyring(tmp_path / "audit.sealed", Seal(b"n" * 32))


def test_digests_of_releases_without_keys_are_what_they_were() -> None:
    place, event = (NORTH, 7, NOW), event_bytes(EVENT)
    before = hashlib.sha256(b"p" * 32 + msgspec.msgpack.encode(place) + event).digest()
    assert AuditKeys({1: bytes(32)}).digest(UNKEYED, b"p" * 32, place, event) == before


@pytest.mark.parametrize("keys", [{}, {0: bytes(32)}, {1: b"short"}, {1: bytes(32), 2: b""}])
def test_keys_that_are_none_are_refused(keys: dict[int, bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        AuditKeys(keys)
