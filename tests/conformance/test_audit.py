from sqlalchemy import delete, update

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.tenancy import OPERATOR
from swallowtail.cloud.records.database import Unit
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.schema import audit
from tests.conformance.invented import NORTH, NOW, SOUTH


def read(uid: str) -> AuditEvent:
    return AuditEvent(event=EventId.INSTANCES_ACCESSED, action=EventAction.READ, actor="ada", objects=(("instance", uid),))


async def test_records_are_chained_per_tenant_and_listed_newest_first(records: Records) -> None:
    before = (await records.audit.verify(NORTH)).records
    await records.audit.append(NORTH, [read("1.1"), read("1.2")], now=NOW)
    await records.audit.append(SOUTH, [read("1.3")], now=NOW)
    await records.audit.append(NORTH, [read("1.4")], now=NOW + 1)
    page = await records.audit.records(NORTH, PageRequest(2))
    assert [one.event for one in page.items] == [read("1.4"), read("1.2")]
    assert [one.sequence for one in page.items] == [before + 3, before + 2]
    assert (await records.audit.records(NORTH, PageRequest(1, page.next))).items[0].event == read("1.1")
    verdict = await records.audit.verify(NORTH)
    assert (verdict.records, verdict.broken_at) == (before + 3, None)
    assert (await records.audit.verify(OPERATOR)).broken_at is None


async def test_a_changed_and_a_missing_record_are_named(records: Records) -> None:
    await records.audit.append(NORTH, [read(f"1.{number}") for number in range(6)], now=NOW)
    total = (await records.audit.verify(NORTH)).records
    database = records.audit._database

    def alter(unit: Unit) -> None:
        unit.connection.execute(update(audit).where(audit.c.tenant == NORTH, audit.c.sequence == 4).values(at=NOW - 1))

    def remove_last(unit: Unit) -> None:
        unit.connection.execute(delete(audit).where(audit.c.tenant == SOUTH))

    await database.write(alter)
    assert (await records.audit.verify(NORTH)).broken_at == 4
    await records.audit.append(SOUTH, [read("1.1")], now=NOW)
    await database.write(remove_last)
    assert (await records.audit.verify(SOUTH)).broken_at == 1
    assert (await records.audit.verify(NORTH)).records == total
