"""What is kept of attempts goes with its delivery."""

from pathlib import Path

import pytest
from sqlalchemy import delete, func, select

from swallowtail.cloud.model.delivery import (
    INSTANCE,
    AttemptFacts,
    DeliveryState,
    NewDelivery,
    Settlement,
    Target,
)
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.database import Database
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from tests.conformance.invented import EXPLICIT, NORTH, NOW, admitted_link, arrival, tenants
from tests.doubles.memory_database import INVENTED_KEYS, CommittedRows, MemoryDatabase

PACS = Target(link="ward", destination="pacs")


async def _tried(database: Database) -> None:
    """Have two deliveries, each with an attempt."""
    records = Records(database)
    await tenants(records)
    await admitted_link(records)
    made = [
        (await records.instances.commit(NORTH, arrival(f"1.{n}", str(n)), now=NOW)).id
        for n in range(2)
    ]
    wanted = [
        NewDelivery(target=PACS, kind=INSTANCE, reference=one, cause="rule:r/1") for one in made
    ]
    await records.deliveries.add(NORTH, wanted, now=NOW)
    tried = AttemptFacts(
        began=NOW, ended=NOW, epoch=1, configuration=1, connection=0, sent_format=EXPLICIT
    )
    for _ in made:
        (lease,) = (await records.deliveries.claim(NORTH, PACS, 1, now=NOW, until=NOW + 9)).leases
        settlement = Settlement(
            tenant=NORTH,
            delivery=lease.delivery.id,
            token=lease.token,
            state=DeliveryState.DELIVERED,
            attempt=tried,
        )
        assert await records.deliveries.settle([settlement], None, now=NOW)


async def _removed_with_one(database: Database) -> None:
    await _tried(database)
    count = select(func.count()).select_from(schema.attempt)
    assert await database.read(lambda connection: connection.execute(count).scalar_one()) == 2
    await database.write(
        lambda unit: unit.connection.execute(
            delete(schema.delivery).where(schema.delivery.c.reference == 1)
        )
    )
    left = await database.read(
        lambda connection: connection.execute(select(schema.attempt.c.delivery)).scalars().all()
    )
    assert list(left) == [2]


async def test_attempts_are_removed_with_their_delivery_in_the_file(tmp_path: Path) -> None:
    database = SqliteDatabase.open(
        tmp_path / "records.sqlite",
        audit_keys=INVENTED_KEYS,
        on_fatal=lambda error: pytest.fail(str(error)),
    )
    await _removed_with_one(database)
    await database.close()


async def test_attempts_are_removed_with_their_delivery_in_memory() -> None:
    await _removed_with_one(MemoryDatabase(CommittedRows()))
