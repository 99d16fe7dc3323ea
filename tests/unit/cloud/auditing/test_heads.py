"""Exported heads against chains that somebody cuts, between exports and past the place where they
were cut.
"""

import io
import json
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from swallowtail.cloud.alarms.audit_broken import AuditBroken
from swallowtail.cloud.auditing.heads import LOG_EVERY, ChainGuard, HeadFile, HeadFileError
from swallowtail.cloud.model.audit import ChainFault, ChainHead
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant
from swallowtail.cloud.records.database import Unit
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.schema import audit, audit_head
from swallowtail.runtime import log
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, tenants
from tests.doubles.memory_database import INVENTED_KEYS, CommittedRows, MemoryDatabase
from tests.unit.cloud.alarms.examination import loop_of


class Cloud:
    """Records and the guard of their chains; `restart` makes a guard that knows the file alone."""

    def __init__(self, path: Path) -> None:
        self.path, self.now = path / "heads.json", NOW
        self.database = MemoryDatabase(CommittedRows())
        self.records = Records(self.database)

    async def restart(self) -> None:
        records = self.records
        self.guard = ChainGuard(
            HeadFile(self.path, INVENTED_KEYS),
            audit=records.audit,
            clock=lambda: self.now,
        )
        await self.guard.open()
        await self.guard.check()

    async def append(self, count: int, tenant: Tenant = NORTH) -> ChainHead:
        await self.records.audit.append(tenant, [EVENT] * count, now=self.now)
        return await self.records.audit.head(tenant)

    async def cut(self, count: int, tenant: Tenant = NORTH) -> None:
        def cut(unit: Unit) -> None:
            rows = unit.connection.execute(
                audit.select().where(audit.c.tenant == tenant).order_by(audit.c.sequence)
            ).all()
            head = {"sequence": rows[-1 - count].sequence, "digest": rows[-1 - count].digest}
            unit.connection.execute(
                delete(audit).where(audit.c.tenant == tenant, audit.c.sequence > head["sequence"])
            )
            unit.connection.execute(
                update(audit_head).where(audit_head.c.tenant == tenant).values(head)
            )

        await self.database.write(cut)

    async def alarms(self, tenant: Tenant) -> list[str]:
        await loop_of(AuditBroken, self.records, lambda: self.now, chains=self.guard).examine()
        page = await self.records.alarms.alarms(tenant)
        return [one.subject for one in page.items if one.condition is Condition.AUDIT_BROKEN]

    def exported(self) -> dict[str, int]:
        return {
            row["tenant"]: row["sequence"] for row in json.loads(self.path.read_text())["heads"]
        }


@pytest.fixture
async def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    await tenants(cloud.records)
    await cloud.append(5)
    await cloud.restart()
    return cloud


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("grown", [0, 1, 2, 9])
async def test_a_cut_chain_is_noticed_however_far_it_grows_again(
    cloud: Cloud, grown: int, restarted: bool
) -> None:
    before = cloud.exported()[NORTH]
    await cloud.cut(2)
    if grown:
        cloud.now += 1
        await cloud.append(grown)
    await (cloud.restart() if restarted else cloud.guard.check())
    assert (await cloud.alarms(NORTH), await cloud.alarms(SOUTH)) == (["chain"], [])
    assert (await cloud.guard.verify(NORTH)).fault is ChainFault.EXPORTED
    assert (await cloud.guard.verify(SOUTH)).fault is None
    assert (
        cloud.exported()[NORTH] == before
    )  # the proof is not replaced by the head of what was made of it


async def test_heads_follow_chains_that_hold(cloud: Cloud) -> None:
    head = await cloud.append(3)
    await cloud.append(1, SOUTH)
    await cloud.guard.check()
    assert cloud.exported()[NORTH] == head.sequence
    assert await cloud.alarms(NORTH) == []
    written = cloud.path.stat().st_mtime_ns
    await cloud.guard.check()
    assert cloud.path.stat().st_mtime_ns == written


async def test_the_operators_chain_concerns_every_organisation(cloud: Cloud) -> None:
    await cloud.cut(1, OPERATOR)
    await cloud.guard.check()
    assert (await cloud.alarms(NORTH), await cloud.alarms(SOUTH)) == (["operator"], ["operator"])


async def test_a_chain_that_is_removed_as_a_whole_is_noticed(cloud: Cloud) -> None:
    def remove(unit: Unit) -> None:
        for table in (audit, audit_head):
            unit.connection.execute(delete(table).where(table.c.tenant == NORTH))

    await cloud.database.write(remove)
    await cloud.guard.check()
    assert (await cloud.alarms(NORTH), (await cloud.guard.verify(NORTH)).broken_at) == (
        ["chain"],
        1,
    )


async def test_an_altered_file_is_told_from_an_altered_chain_and_kept(cloud: Cloud) -> None:
    altered = cloud.path.read_text().replace(
        f'"sequence": {cloud.exported()[NORTH]}', '"sequence": 1', 1
    )
    cloud.path.write_text(altered)
    with pytest.raises(HeadFileError):
        HeadFile(cloud.path, INVENTED_KEYS).read()
    await cloud.append(1)
    await cloud.restart()
    assert await cloud.alarms(NORTH) == await cloud.alarms(SOUTH) == ["heads"]
    assert cloud.path.read_text() == altered


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"heads": [{}], "key": 1, "mac": ""}',
        b'{"heads": [], "key": 0, "mac": "00"}',
    ],
)
async def test_a_file_that_holds_no_heads_is_refused(cloud: Cloud, content: bytes) -> None:
    cloud.path.write_bytes(content)
    with pytest.raises(HeadFileError):
        HeadFile(cloud.path, INVENTED_KEYS).read()


async def test_a_new_file_leaves_a_record_in_the_operators_chain(cloud: Cloud) -> None:
    cloud.path.unlink()
    await cloud.restart()
    types = [one.event.type for one in (await cloud.records.audit.records(OPERATOR)).items]
    assert types.count("audit.heads") == 2  # and the first start's


async def test_a_file_that_cannot_be_written_raises_an_alarm_until_it_can(cloud: Cloud) -> None:
    folder = cloud.path.with_name("heads.json.new")
    folder.mkdir()
    await cloud.append(1)
    await cloud.guard.check()
    await cloud.guard.check()
    assert await cloud.alarms(NORTH) == ["heads"]
    folder.rmdir()
    await cloud.guard.check()
    await cloud.guard.check()
    assert await cloud.alarms(NORTH) == []


async def test_the_log_has_the_heads_at_the_start_and_once_in_an_hour(cloud: Cloud) -> None:
    lines = io.StringIO()
    log.configure(stream=lines, json=True)
    for _ in range(3):
        await cloud.append(1)
        cloud.now += LOG_EVERY / 2
        await cloud.guard.check()
    head = await cloud.records.audit.head(NORTH)
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    mine = [one for one in logged if one["tenant"] == NORTH]
    assert [one["event"] for one in mine] == ["audit head exported"]
    assert mine[0]["sequence"] == head.sequence - 1
    assert len(mine[0]["digest"]) == 64
