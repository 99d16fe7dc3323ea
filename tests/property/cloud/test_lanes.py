"""Claims, lapses, kills, settlements and people's acts in any order, over the twin.

The lanes keep their promises.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from swallowtail.cloud.model.delivery import (
    INSTANCE,
    OPEN_STATES,
    DeliverySearch,
    DeliveryState,
    DestinationState,
    Lease,
    NewDelivery,
    Settlement,
    Target,
)
from swallowtail.cloud.model.port_errors import ConflictError
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, admitted_link, arrival, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase

T = TypeVar("T")
PACS = Target(link="ward", destination="pacs")
LANES = ("", "H-1", "H-2")
COUNT = 6
LEASE = 30.0


class Queue(RuleBasedStateMachine):
    """Drives the port; remembers every lease it was given, so that it can show old ones again."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.rows = CommittedRows()
        self.records = Records(MemoryDatabase(self.rows))
        self.now = NOW
        self.leases: list[Lease] = []
        self.settled: list[int] = []
        self.resent: set[int] = set()
        self.queued = 0
        self.instances = self.run(self.populate())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def populate(self) -> list[int]:
        await tenants(self.records)
        await admitted_link(self.records)
        made = [
            await self.records.instances.commit(NORTH, arrival(f"1.{n}", str(n)), now=NOW)
            for n in range(COUNT)
        ]
        return [one.id for one in made]

    def teardown(self) -> None:
        self.loop.close()
        self.rows.close()

    @rule(
        lane=st.sampled_from(LANES),
        instance=st.integers(0, COUNT - 1),
        priority=st.sampled_from([0, 0, 0, 5]),
    )
    def add(self, lane: str, instance: int, priority: int) -> None:
        self.queued += 1
        desired = NewDelivery(
            target=PACS,
            kind=INSTANCE,
            reference=self.instances[instance],
            lane=lane,
            priority=priority,
            cause=f"person:t/{self.queued}",
        )
        assert self.run(self.records.deliveries.add(NORTH, [desired], now=self.now)) == 1

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        heads = {lane: rows[0] for lane in LANES if (rows := self.open_in(lane))}
        held = {lane: self.held_in(lane) for lane in LANES}
        claim = self.run(
            self.records.deliveries.claim(NORTH, PACS, limit, now=self.now, until=self.now + LEASE)
        )
        for lease in claim.leases:
            assert heads[lease.delivery.lane][0] == lease.delivery.id
            assert not held[lease.delivery.lane]
        self.leases += claim.leases

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.leases))
        before = self.open_in(held.delivery.lane)
        claim = self.run(
            self.records.deliveries.claim(
                NORTH, PACS, 1, now=self.now, until=self.now + LEASE, after=held
            )
        )
        for lease in claim.leases:
            assert lease.delivery.lane == held.delivery.lane
            waiting = [one for one, _ in before if one != held.delivery.id]
            assert waiting[0] == lease.delivery.id
        self.leases += claim.leases

    @precondition(lambda self: self.leases)
    @rule(
        data=st.data(),
        state=st.sampled_from(["delivered", "pending", "dead-letter", "stopped"]),
        wait=st.sampled_from([0.0, 5.0]),
    )
    def settle(self, data: st.DataObject, state: str, wait: float) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        settlement = Settlement(
            tenant=NORTH,
            delivery=lease.delivery.id,
            token=lease.token,
            state=DeliveryState(state),
            next_at=self.now + wait,
        )
        known = self.run(self.records.deliveries.delivery(NORTH, lease.delivery.id))
        kept = self.run(
            self.records.deliveries.settle(
                [settlement], DestinationState(target=PACS), now=self.now
            )
        )
        if kept:
            assert known.state is DeliveryState.SENDING
            if state == "delivered":
                self.settled.append(lease.delivery.id)

    @precondition(lambda self: self.queued)
    @rule(
        data=st.data(),
        state=st.sampled_from([DeliveryState.PARKED, DeliveryState.SKIPPED, DeliveryState.PENDING]),
    )
    def act(self, data: st.DataObject, state: DeliveryState) -> None:
        every = self.run(self.records.deliveries.deliveries(NORTH, DeliverySearch())).items
        one = data.draw(st.sampled_from(every))
        act = self.records.deliveries.act(
            NORTH, DeliverySearch(), [one.id], state, reason="", now=self.now, event=EVENT
        )
        try:
            done = self.run(act)
        except ConflictError:
            assert one.state is DeliveryState.SENDING
            assert one.until > self.now
            return
        if done and state is DeliveryState.PENDING and one.id in self.settled:
            self.settled.remove(one.id)

    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0, LEASE]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def open_in(self, lane: str) -> list[tuple[int, DeliveryState]]:
        every = self.run(
            self.records.deliveries.deliveries(NORTH, DeliverySearch(states=OPEN_STATES))
        ).items
        mine = sorted(
            (one for one in every if one.lane == lane), key=lambda one: (-one.priority, one.place)
        )
        return [(one.id, one.state) for one in mine]

    def held_in(self, lane: str) -> list[int]:
        """Return the deliveries of the lane whose lease has not expired."""
        live = {lease.delivery.id for lease in self.leases if lease.until > self.now}
        return [
            one
            for one, state in self.open_in(lane)
            if state is DeliveryState.SENDING and one in live
        ]

    @invariant()
    def nothing_is_delivered_twice(self) -> None:
        assert len(set(self.settled)) == len(self.settled)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert (
            len(self.run(self.records.deliveries.deliveries(NORTH, DeliverySearch())).items)
            == self.queued
        )

    @invariant()
    def what_can_be_claimed_is_due(self) -> None:
        """A lane whose head waits with nothing leased is found by `due`, whatever the cause."""
        due = self.run(self.records.deliveries.due(NORTH, "ward"))
        ready = [
            lane
            for lane in LANES
            if (rows := self.open_in(lane)) and rows[0][1] is DeliveryState.PENDING
        ]
        assert bool(due) or not ready


Queue.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestLanes = Queue.TestCase
