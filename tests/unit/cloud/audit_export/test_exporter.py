"""Exports over receivers that fail and Clouds that crash.

In order, nothing lost, at most one batch repeated for each crash.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from swallowtail.cloud.audit_export import exporter
from swallowtail.cloud.audit_export.exporter import (
    ALARM_AFTER,
    BATCH,
    RETRY,
    AuditExporter,
)
from swallowtail.cloud.audit_export.transmission import SendError
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.exporting import AuditReceiver
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant
from swallowtail.cloud.records.records import Records
from swallowtail.runtime.tasks import Tasks
from tests.audit_messages import detail, message_of, unframed
from tests.certificates import SEAL
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase

RECEIVER = AuditReceiver(host="arr.example", port=6514)
Failure = Callable[[], None]


def refuse() -> None:
    raise SendError("cannot connect to arr.example:6514; check that it runs")


class Repository:
    """A receiver: what it has taken of each chain, in its order.

    `fails` raises instead of taking.
    """

    def __init__(self) -> None:
        self.taken: dict[str, list[int]] = {}
        self.sizes: list[int] = []
        self.fails: Failure | None = None
        self.after: Failure | None = None
        """Raises when it has taken what it was sent."""

    def __call__(
        self, receiver: AuditReceiver, passphrase: bytes | None, frames: Sequence[bytes]
    ) -> None:
        if self.fails is not None:
            self.fails()
        self.sizes.append(len(frames))
        messages, rest = unframed(b"".join(frames))
        assert rest == b""
        for message in map(message_of, messages):
            name = (
                message.findall("ParticipantObjectIdentification")[-1]
                .attrib["ParticipantObjectID"]
                .rpartition(":")[2]
            )
            self.taken.setdefault(name, []).append(int(detail(message, "Sequence")))
        if self.after is not None:
            self.after()


class Cloud:
    """The exports of one Cloud; `restart` forgets what is in memory alone."""

    def __init__(self) -> None:
        self.rows, self.now, self.repository = CommittedRows(), NOW, Repository()
        self.records = Records(MemoryDatabase(self.rows))
        self.restart()

    def restart(self) -> None:
        records = self.records
        self.exporter = AuditExporter(
            exports=records.audit_exports,
            audit=records.audit,
            organisations=records.organisations,
            alarms=records.alarms,
            seal=SEAL,
            send=self.repository,
            clock=lambda: self.now,
            random=lambda: 0.5,
            node="cloud.example",
        )

    async def look(self) -> None:
        async with Tasks("test") as tasks:
            await self.exporter.look(tasks)
            if len(tasks):
                await asyncio.wait([*tasks._running])

    async def append(self, count: int, tenant: Tenant = NORTH) -> int:
        await self.records.audit.append(tenant, [EVENT] * count, now=self.now)
        return (await self.records.audit.head(tenant)).sequence

    async def put(
        self, tenant: Tenant = NORTH, receiver: AuditReceiver = RECEIVER, *, whole: bool = True
    ) -> None:
        await self.records.audit_exports.put(
            tenant, receiver, whole=whole, now=self.now, event=EVENT
        )

    async def alarms(self, tenant: Tenant = NORTH) -> list[str]:
        page = await self.records.alarms.alarms(tenant)
        return [one.detail for one in page.items if one.condition is Condition.AUDIT_EXPORT]

    async def export(self, tenant: Tenant = NORTH) -> Any:
        found = await self.records.audit_exports.export(tenant)
        assert found is not None
        return found


@pytest.fixture
async def cloud() -> Cloud:
    cloud = Cloud()
    await tenants(cloud.records)
    return cloud


async def test_the_whole_chain_or_what_comes_from_now_on(cloud: Cloud) -> None:
    await cloud.put(NORTH, whole=True)
    await cloud.put(SOUTH, whole=False)
    await cloud.put(OPERATOR, whole=True)
    heads = {
        tenant: (await cloud.records.audit.head(tenant)).sequence
        for tenant in (NORTH, SOUTH, OPERATOR)
    }
    await cloud.look()
    await cloud.look()
    assert cloud.repository.taken["north"] == list(range(1, heads[NORTH] + 1))
    assert cloud.repository.taken["south"] == [heads[SOUTH]]  # the record that says so
    assert cloud.repository.taken["operator"] == list(range(1, heads[OPERATOR] + 1))
    before = len(cloud.repository.sizes)
    await cloud.look()
    assert len(cloud.repository.sizes) == before  # nobody is called when there is nothing


async def test_a_long_chain_is_sent_in_batches(cloud: Cloud) -> None:
    head = await cloud.append(2 * BATCH + 7)
    await cloud.put()
    await cloud.look()
    assert cloud.repository.taken["north"] == list(range(1, head + 2))
    assert max(cloud.repository.sizes) == BATCH


async def test_the_loop_is_not_held_while_messages_are_made(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 messages take a tenth of a second of CPU.

    On the loop every Link and modality would wait for them.
    """
    threads: set[int] = set()
    make = exporter.frame

    def noted(*args: Any) -> bytes:
        threads.add(threading.get_ident())
        return make(*args)

    monkeypatch.setattr(exporter, "frame", noted)
    await cloud.put()
    await cloud.look()
    assert cloud.repository.taken["north"]
    assert threading.get_ident() not in threads


async def test_a_batch_is_bounded_in_bytes_too(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "MAX_BATCH_BYTES", 4000)
    head = await cloud.append(20)
    await cloud.put()
    await cloud.look()
    assert cloud.repository.taken["north"] == list(range(1, head + 2))
    assert max(cloud.repository.sizes) <= 5


async def test_a_receiver_that_is_away_is_tried_less_and_less_and_raises_an_alarm_that_clears(
    cloud: Cloud,
) -> None:
    await cloud.put()
    cloud.repository.fails = refuse
    waits: list[float] = []
    for number in range(1, 12):
        await cloud.look()
        assert bool(await cloud.alarms()) == (number >= ALARM_AFTER)
        before = cloud.now
        cloud.now = cloud.exporter._failures[NORTH].next_at - 0.01
        await cloud.look()
        assert cloud.exporter._failures[NORTH].count == number  # not yet
        cloud.now = cloud.exporter._failures[NORTH].next_at
        waits.append(cloud.now - before)
    assert waits[0] == pytest.approx(RETRY.first)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(RETRY.last)
    export = await cloud.export()
    assert (export.failing_since, export.sequence) == (NOW, 0)
    assert "check that it runs" in export.detail
    assert "Nothing is lost" in (await cloud.alarms())[0]
    assert await cloud.alarms(SOUTH) == []
    cloud.restart()  # the alarm was raised by an earlier process
    cloud.repository.fails = None
    await cloud.look()
    assert await cloud.alarms() == []
    assert ((await cloud.export()).failing_since, (await cloud.export()).detail) == (None, "")


async def test_another_receiver_is_tried_at_once_and_goes_on_where_the_last_ended(
    cloud: Cloud,
) -> None:
    await cloud.put()
    await cloud.look()
    await cloud.append(3)
    cloud.repository.fails = refuse
    await cloud.look()
    cloud.repository.fails = None
    await cloud.look()
    taken = list(cloud.repository.taken["north"])
    await cloud.put(receiver=AuditReceiver(host="other.example", port=6514), whole=False)
    await cloud.look()
    head = (await cloud.records.audit.head(NORTH)).sequence
    assert cloud.repository.taken["north"] == list(range(1, head + 1))
    assert len(taken) < head


async def test_one_bad_receiver_holds_up_nobody_else(cloud: Cloud) -> None:
    await cloud.put(NORTH)
    await cloud.put(SOUTH)

    def of_north() -> None:
        raise SendError("no")

    send = cloud.repository.__call__

    def sorted_out(
        receiver: AuditReceiver, passphrase: bytes | None, frames: Sequence[bytes]
    ) -> None:
        if b"audit:north" in frames[0]:
            of_north()
        send(receiver, passphrase, frames)

    cloud.exporter._send = sorted_out
    await cloud.look()
    assert cloud.repository.taken.keys() == {"south"}


async def test_a_key_that_does_not_open_is_a_failure_that_says_so(cloud: Cloud) -> None:
    await cloud.put(
        receiver=AuditReceiver(
            host="arr.example", port=6514, certificate="x", key=b"sealed under another key"
        )
    )
    await cloud.look()
    assert "audit export key north" in (await cloud.export()).detail


async def test_a_fault_of_ours_is_logged_and_tried_less_and_less(cloud: Cloud) -> None:
    def fault() -> None:
        raise ZeroDivisionError

    await cloud.put()
    cloud.repository.fails = fault
    with capture_logs() as logs:
        await cloud.look()
        await cloud.look()
    assert [one["log_level"] for one in logs] == ["error"]
    cloud.repository.fails = None
    cloud.now = cloud.exporter._failures[NORTH].next_at
    await cloud.look()
    assert cloud.repository.taken["north"]


async def test_storage_that_is_down_and_a_removed_organisation_end_no_task(cloud: Cloud) -> None:
    await cloud.put()
    cloud.rows.unavailable = True
    await cloud.look()
    cloud.rows.unavailable = False
    assert cloud.exporter._failures[NORTH].count == 1


Step = st.sampled_from(["append", "look", "fail", "work", "restart", "crash", "rows"])


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(Step, max_size=30))
def test_whatever_happens_each_record_arrives_in_order_and_is_repeated_for_a_crash_alone(
    steps: list[str],
) -> None:
    asyncio.run(_check(steps))


async def _check(steps: list[str]) -> None:
    cloud = Cloud()
    await tenants(cloud.records)
    await cloud.put()
    crashes = 0

    def die() -> None:
        nonlocal crashes
        crashes += 1
        raise SendError("the Cloud was killed when the receiver had taken the batch")

    for step in steps:
        match step:
            case "append":
                await cloud.append(3)
            case "look":
                cloud.now += RETRY.last * 2
                await cloud.look()
            case "fail":
                cloud.repository.fails = refuse
            case "work":
                cloud.repository.fails = None
            case "restart":
                cloud.restart()
            case "crash":
                cloud.repository.after = die
                cloud.now += RETRY.last * 2
                await cloud.look()
                cloud.repository.after = None
                cloud.restart()
            case "rows":
                cloud.rows.unavailable = True
                cloud.now += RETRY.last * 2
                await cloud.look()
                cloud.rows.unavailable = False
    cloud.repository.fails = None
    cloud.now += RETRY.last * 2
    await cloud.look()
    cloud.now += RETRY.last * 2
    await cloud.look()
    taken = cloud.repository.taken["north"]
    head = (await cloud.records.audit.head(NORTH)).sequence
    assert sorted(set(taken)) == list(range(1, head + 1))
    steps_back = [before - after for before, after in pairwise(taken) if after != before + 1]
    assert all(back >= 0 for back in steps_back), taken
    assert len(steps_back) <= crashes + steps.count("rows")
