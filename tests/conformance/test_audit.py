from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, update

from swallowtail.cloud.model.audit import (
    AuditEvent,
    AuditKeys,
    AuditSearch,
    ChainFault,
    EventAction,
    EventId,
    EventOutcome,
)
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.schema import audit, audit_head, audit_object
from tests.conformance.invented import NORTH, NOW, SOUTH, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase

OLD, NEW = bytes(32), bytes([1]) * 32


def read(uid: str) -> AuditEvent:
    return AuditEvent(
        event=EventId.INSTANCES_ACCESSED,
        action=EventAction.READ,
        actor="ada",
        objects=(("instance", uid),),
    )


def of(actor: str, type_: str, *objects: tuple[str, str], **fields: Any) -> AuditEvent:
    given = {"event": EventId.SECURITY_ALERT, "action": EventAction.UPDATE, **fields}
    return AuditEvent(actor=actor, type=type_, objects=objects, **given)


async def test_records_are_chained_per_tenant_and_listed_newest_first(records: Records) -> None:
    before = (await records.audit.verify(NORTH)).records
    await records.audit.append(NORTH, [read("1.1"), read("1.2")], now=NOW)
    await records.audit.append(SOUTH, [read("1.3")], now=NOW)
    await records.audit.append(NORTH, [read("1.4")], now=NOW + 1)
    page = await records.audit.records(NORTH, PageRequest(2))
    assert [one.event for one in page.items] == [read("1.4"), read("1.2")]
    assert [one.sequence for one in page.items] == [before + 3, before + 2]
    assert (await records.audit.records(NORTH, PageRequest(1, page.next))).items[0].event == read(
        "1.1"
    )
    verdict = await records.audit.verify(NORTH)
    assert (verdict.records, verdict.broken_at) == (before + 3, None)
    assert (await records.audit.verify(OPERATOR)).broken_at is None


async def test_a_changed_and_a_missing_record_are_named(records: Records) -> None:
    await records.audit.append(NORTH, [read(f"1.{number}") for number in range(6)], now=NOW)
    total = (await records.audit.verify(NORTH)).records
    database = records.audit._database

    def alter(unit: Unit) -> None:
        unit.connection.execute(
            update(audit).where(audit.c.tenant == NORTH, audit.c.sequence == 4).values(at=NOW - 1)
        )

    def remove_last(unit: Unit) -> None:
        unit.connection.execute(delete(audit).where(audit.c.tenant == SOUTH))

    await database.write(alter, tenant=NORTH)
    verdict = await records.audit.verify(NORTH)
    assert (verdict.broken_at, verdict.fault) == (4, ChainFault.CHANGED)
    await records.audit.append(SOUTH, [read("1.1")], now=NOW)
    await database.write(remove_last, tenant=SOUTH)
    verdict = await records.audit.verify(SOUTH)
    assert (verdict.broken_at, verdict.fault) == (1, ChainFault.MISSING)
    assert (await records.audit.verify(NORTH)).records == total


async def test_heads_are_those_of_every_chain_and_held_until_their_record_changes(
    records: Records,
) -> None:
    await records.audit.append(NORTH, [read("1.1"), read("1.2")], now=NOW)
    heads = {one.tenant: one for one in await records.audit.heads()}
    assert heads.keys() >= {NORTH, SOUTH, OPERATOR}
    assert heads[NORTH] == await records.audit.head(NORTH)
    await records.audit.append(NORTH, [read("1.3")], now=NOW)
    assert await records.audit.holds(heads.values()) == frozenset(heads.values())
    assert (await records.audit.verify(NORTH, [heads[NORTH]])).broken_at is None

    def cut(unit: Unit) -> None:
        unit.connection.execute(
            delete(audit).where(audit.c.tenant == NORTH, audit.c.sequence >= heads[NORTH].sequence)
        )

    await records.audit._database.write(cut, tenant=NORTH)
    assert await records.audit.holds(heads.values()) == frozenset(heads.values()) - {heads[NORTH]}
    assert (await records.audit.head(Tenant("nobody"))).sequence == 0


class Chained:
    """A database whose audit key changes, as when the Cloud starts with another newest key."""

    def __init__(self) -> None:
        self.rows = CommittedRows(AuditKeys({1: OLD}))

    @property
    def records(self) -> Records:
        return Records(MemoryDatabase(self.rows))

    async def change_key(self) -> int:
        self.rows.audit_keys = AuditKeys({1: OLD, 2: NEW})
        return await self.records.audit.begin_key(now=NOW)

    async def run(self, intent: Callable[[Unit], None]) -> None:
        database: Database = MemoryDatabase(self.rows)
        await database.write(intent)


@pytest.fixture
async def chained() -> Chained:
    made = Chained()
    await tenants(made.records)
    await made.records.audit.append(NORTH, [read("1.1"), read("1.2")], now=NOW)
    return made


async def test_a_chain_changes_to_a_newer_key_once_and_says_from_where(chained: Chained) -> None:
    before = (await chained.records.audit.head(NORTH)).sequence
    assert (await chained.records.audit.newest_key(), await chained.change_key()) == (1, 3)
    assert (await chained.records.audit.newest_key(), await chained.change_key()) == (2, 0)
    record = (await chained.records.audit.records(NORTH)).items[0]
    assert (record.sequence, record.event.type, record.event.objects) == (
        before + 1,
        "audit.keyed",
        (("audit-record", str(before)),),
    )
    await chained.records.audit.append(NORTH, [read("1.3")], now=NOW)
    for tenant in (NORTH, SOUTH, OPERATOR):
        assert (await chained.records.audit.verify(tenant)).broken_at is None


def forged(keys: AuditKeys, key: int, first: int = 1) -> Callable[[Unit], None]:
    """Write NORTH's chain anew from `first` on, without one record, with whatever keys the forger
    has.
    """

    def forge(unit: Unit) -> None:
        rows = unit.connection.execute(
            audit.select().where(audit.c.tenant == NORTH).order_by(audit.c.sequence)
        ).all()
        unit.connection.execute(
            delete(audit).where(audit.c.tenant == NORTH, audit.c.sequence >= first)
        )
        digest = rows[first - 2].digest if first > 1 else bytes(32)
        sequence = first - 1
        for row in (*rows[first - 1 : -2], rows[-1]):
            sequence += 1
            digest = keys.digest(key, digest, (NORTH, sequence, row.at), row.event)
            new = {**row._mapping, "sequence": sequence, "digest": digest, "key": key}
            unit.connection.execute(audit.insert(), new)
            found_by = (audit_object.c.tenant == NORTH) & (audit_object.c.sequence == row.sequence)
            unit.connection.execute(update(audit_object).where(found_by).values(sequence=sequence))
        head = update(audit_head).where(audit_head.c.tenant == NORTH)
        unit.connection.execute(head.values(sequence=sequence, digest=digest))

    return forge


@pytest.mark.parametrize("key", [0, 1])
async def test_who_has_an_older_key_cannot_write_the_chain_anew(chained: Chained, key: int) -> None:
    await chained.change_key()
    await chained.run(forged(AuditKeys({1: OLD}), key))
    assert (await chained.records.audit.verify(NORTH)).fault is ChainFault.KEY
    await chained.records.audit.append(
        NORTH, [read("1.3")], now=NOW
    )  # a true record on top proves nothing of those below it
    assert (await chained.records.audit.verify(NORTH)).fault is ChainFault.KEY


async def test_who_has_an_older_key_cannot_change_what_was_written_under_it(
    chained: Chained,
) -> None:
    await chained.change_key()

    def change(unit: Unit) -> None:
        row = unit.connection.execute(
            audit.select().where(audit.c.tenant == NORTH).order_by(audit.c.sequence)
        ).first()
        digest = AuditKeys({1: OLD}).digest(1, bytes(32), (NORTH, 1, NOW - 9), row.event)
        mine = (audit.c.tenant == NORTH) & (audit.c.sequence == 1)
        unit.connection.execute(update(audit).where(mine).values(at=NOW - 9, digest=digest))

    await chained.run(change)
    assert (await chained.records.audit.verify(NORTH)).broken_at == 2


async def test_records_are_found_by_type_actor_object_outcome_and_time(records: Records) -> None:
    audit_ = records.audit
    failed = EventOutcome.SERIOUS_FAILURE
    events = [
        of("a", "token.rotate", ("token", "t1")),
        of("b", "instance.fetch", ("instance", "1.1"), ("study", "1")),
        of("a", "instance.fetch", ("instance", "1.2"), ("study", "1"), ("sha256", "ab")),
        of("b", "token.refused", outcome=failed),
        of("a", "instance.fetch", ("instance", "1.1"), ("study", "1"), outcome=failed),
    ]
    for number, event in enumerate(events):
        await audit_.append(NORTH, [event], now=NOW + number)
        await audit_.append(SOUTH, [event], now=NOW + number)

    async def found(**search: Any) -> str:
        search.setdefault("since", NOW)
        page = await audit_.records(NORTH, search=AuditSearch(**search))
        times = [round(one.at - NOW) for one in page.items if one.event in events]
        return "".join(map(str, times))

    assert await found() == "43210"
    assert await found(actor="a") == "420"
    assert await found(type="instance.fetch") == "421"
    assert await found(type="instance") == ""
    assert await found(type="instance.fetch", actor="a") == "42"
    assert await found(object="1") == "421"
    assert await found(object="1.1") == "41"
    assert await found(object="1.1", actor="b") == "1"
    assert await found(object="ab") == "", "a digest is an attribute of its instance"
    assert await found(failed=True) == "43"
    assert await found(failed=True, type="token.refused") == "3"
    assert await found(failed=False) == "210"
    assert await found(since=NOW + 1, before=NOW + 3) == "21"
    assert await found(since=NOW + 1, before=NOW + 4, actor="b") == "31"
    search = AuditSearch(actor="a", since=NOW)
    first = await audit_.records(NORTH, PageRequest(2), search=search)
    second = await audit_.records(NORTH, PageRequest(2, first.next), search=search)
    assert [one.event for one in first.items + second.items] == [events[4], events[2], events[0]]
    assert second.next is None


@pytest.mark.parametrize("change", [{"actor": "nobody"}, {"type": "x"}, {"outcome": 8}])
async def test_what_records_are_listed_by_is_verified_with_them(
    records: Records, change: dict[str, Any]
) -> None:
    """Who can write the tables could else hide a record from whoever looks for an actor."""
    await records.audit.append(NORTH, [of("a", "token.rotate")], now=NOW)
    last = (await records.audit.verify(NORTH)).records

    def forge(unit: Unit) -> None:
        mine = (audit.c.tenant == NORTH) & (audit.c.sequence == last)
        unit.connection.execute(update(audit).where(mine).values(change))

    await records.audit._database.write(forge, tenant=NORTH)
    verdict = await records.audit.verify(NORTH)
    assert (verdict.broken_at, verdict.fault) == (last, ChainFault.LISTED)


async def test_records_of_a_clock_that_went_back_are_listed_by_their_time(
    records: Records,
) -> None:
    for at in (NOW + 5, NOW + 1, NOW + 3):
        await records.audit.append(NORTH, [of("a", "x")], now=at)
    search = AuditSearch(since=NOW + 1, before=NOW + 6)
    page = await records.audit.records(NORTH, search=search)
    assert [round(one.at - NOW) for one in page.items] == [5, 3, 1]
    assert (await records.audit.verify(NORTH)).broken_at is None


async def test_a_record_that_was_hidden_from_who_searches_for_its_object_is_named(
    records: Records,
) -> None:
    await records.audit.append(NORTH, [read(f"1.{number}") for number in range(3)], now=NOW)
    hidden = (await records.audit.head(NORTH)).sequence - 1

    def hide(unit: Unit) -> None:
        mine = (audit_object.c.tenant == NORTH) & (audit_object.c.sequence == hidden)
        unit.connection.execute(delete(audit_object).where(mine))

    await records.audit._database.write(hide, tenant=NORTH)
    verdict = await records.audit.verify(NORTH)
    assert (verdict.broken_at, verdict.fault) == (hidden, ChainFault.LISTED)


async def test_a_record_that_is_none_is_named_and_no_crash(chained: Chained) -> None:
    def garble(unit: Unit) -> None:  # as somebody could with a chain of a release without keys
        digest = AuditKeys({1: OLD}).digest(0, bytes(32), (NORTH, 1, NOW), b"\xc1")
        row = {
            "tenant": NORTH,
            "sequence": 1,
            "at": NOW,
            "event": b"\xc1",
            "digest": digest,
            "key": 0,
        }
        unit.connection.execute(delete(audit).where(audit.c.tenant == NORTH, audit.c.sequence == 1))
        unit.connection.execute(audit.insert(), row)

    await chained.run(garble)
    verdict = await chained.records.audit.verify(NORTH)
    assert (verdict.broken_at, verdict.fault) == (1, ChainFault.CHANGED)
