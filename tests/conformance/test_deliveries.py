import asyncio
from typing import Any

import msgspec
import pytest

from swallowtail.cloud.model.delivery import (
    INSTANCE,
    MAX_ATTEMPTS,
    AttemptFacts,
    BreakerState,
    DeliveryAttempt,
    DeliverySearch,
    DeliveryState,
    DestinationState,
    FailureSubject,
    Lease,
    NewDelivery,
    Settlement,
    Target,
)
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import (
    EVENT,
    EXPLICIT,
    NORTH,
    NOW,
    SOUTH,
    US,
    admitted_link,
    arrival,
    indexed,
)

PACS = Target(link="ward", destination="pacs")
ARCHIVE = Target(link="ward", destination="archive")
ALL = DeliverySearch()


@pytest.fixture
async def ids(records: Records) -> list[int]:
    await admitted_link(records)
    made = [
        (await records.instances.commit(NORTH, arrival(f"1.2.{n}", str(n)), now=NOW)).id
        for n in range(4)
    ]
    await records.index_jobs.settle([indexed(one) for one in made], now=NOW)
    return made


def new(
    instance: int,
    *,
    target: Target = PACS,
    lane: str = "",
    priority: int = 0,
    cause: str = "rule:r/1",
) -> NewDelivery:
    return NewDelivery(
        target=target, kind=INSTANCE, reference=instance, lane=lane, priority=priority, cause=cause
    )


async def queued(records: Records, ids: list[int], **more: Any) -> None:
    assert await records.deliveries.add(NORTH, [new(one, **more) for one in ids], now=NOW) == len(
        ids
    )


async def claimed(
    records: Records, now: float, *, limit: int = 9, after: Lease | None = None
) -> list[Lease]:
    claim = await records.deliveries.claim(NORTH, PACS, limit, now=now, until=now + 30, after=after)
    return list(claim.leases)


def tried(step: int) -> AttemptFacts:
    return AttemptFacts(
        began=NOW + step,
        ended=NOW + step + 0.5,
        epoch=3,
        configuration=2,
        connection=1,
        sent_format=EXPLICIT,
    )


def fields(value: AttemptFacts) -> dict[str, Any]:
    return msgspec.structs.asdict(value)


def settled(
    lease: Lease, state: DeliveryState = DeliveryState.DELIVERED, **more: object
) -> Settlement:
    return Settlement(
        tenant=NORTH, delivery=lease.delivery.id, token=lease.token, state=state, **more
    )


async def settle(
    records: Records,
    lease: Lease,
    *,
    now: float,
    state: DeliveryState = DeliveryState.DELIVERED,
    **more: object,
) -> bool:
    return bool(await records.deliveries.settle([settled(lease, state, **more)], None, now=now))


async def test_the_same_wish_again_makes_no_second_delivery(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids)
    assert (
        await records.deliveries.add(NORTH, [new(ids[0]), new(ids[0], cause="person:t/1")], now=NOW)
        == 1
    )
    with pytest.raises(NotFoundError):
        await records.deliveries.add(SOUTH, [new(ids[0])], now=NOW)
    assert (await records.deliveries.deliveries(SOUTH, ALL)).items == ()


async def test_a_lane_gives_its_deliveries_one_by_one_in_order(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids)
    sent = []
    for step in range(4):
        (lease,) = await claimed(records, NOW + step)
        assert await claimed(records, NOW + step) == []
        sent.append(lease.delivery.payload.reference)
        assert await settle(records, lease, now=NOW + step)
    assert sent == ids
    assert await claimed(records, NOW + 9) == []
    assert await records.deliveries.due(NORTH, "ward") == ()


async def test_a_claim_says_what_will_be_sent_and_soon(records: Records, ids: list[int]) -> None:
    await queued(records, ids)
    claim = await records.deliveries.claim(NORTH, PACS, 1, now=NOW, until=NOW + 30)
    delivery = claim.leases[0].delivery
    assert (delivery.payload.identifier, delivery.payload.parent, delivery.payload.facility) == (
        "1.2.0",
        "1.2.1",
        "clinic",
    )
    assert (delivery.state, delivery.tries, delivery.until) == (DeliveryState.SENDING, 1, NOW + 30)
    assert claim.expected == ((INSTANCE, US, EXPLICIT),)
    assert claim.state == DestinationState(target=PACS)


async def test_priority_goes_first_within_its_lane_but_not_past_what_is_under_way(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids[:2])
    (first,) = await claimed(records, NOW)
    await records.deliveries.add(NORTH, [new(ids[2], priority=5)], now=NOW)
    assert await claimed(records, NOW) == []
    await settle(records, first, now=NOW)
    (urgent,) = await claimed(records, NOW)
    assert urgent.delivery.payload.reference == ids[2]


async def test_lanes_of_patients_go_side_by_side(records: Records, ids: list[int]) -> None:
    await queued(records, ids[:2], lane="H-1")
    await queued(records, ids[2:], lane="H-2")
    first = await claimed(records, NOW)
    assert [lease.delivery.payload.reference for lease in first] == [ids[0], ids[2]]
    await settle(records, first[0], now=NOW)
    assert [lease.delivery.payload.reference for lease in await claimed(records, NOW, limit=1)] == [
        ids[1]
    ]


async def test_a_patients_lane_begins_when_the_destinations_own_is_empty(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids[:2])
    await queued(records, ids[2:3], lane="A")
    for expected in ids[:3]:
        (lease,) = await claimed(records, NOW)
        assert (lease.delivery.payload.reference, lease.delivery.lane) == (expected, "")
        assert await settle(records, lease, now=NOW)
    await queued(records, ids[3:], lane="A")
    (lease,) = await claimed(records, NOW)
    assert (lease.delivery.payload.reference, lease.delivery.lane) == (ids[3], "A")


async def test_a_lapsed_lease_is_claimable_again_and_its_old_token_settles_nothing(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids)
    (lost,) = await claimed(records, NOW)
    assert await claimed(records, NOW + 29) == []
    (again,) = await claimed(records, NOW + 30)
    assert (again.delivery.id, again.delivery.tries) == (lost.delivery.id, 2)
    assert not await settle(records, lost, now=NOW + 31)
    assert await settle(records, again, now=NOW + 31)
    assert not await settle(records, again, now=NOW + 32)


async def test_a_lapsed_lease_that_nobody_took_still_settles(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids)
    (late,) = await claimed(records, NOW)
    assert await settle(records, late, now=NOW + 99)
    assert (
        await records.deliveries.delivery(NORTH, late.delivery.id)
    ).state is DeliveryState.DELIVERED


async def test_an_extended_lease_is_kept(records: Records, ids: list[int]) -> None:
    await queued(records, ids)
    (lease,) = await claimed(records, NOW)
    wrong = msgspec.structs.replace(lease, token=lease.token + 1)
    assert await records.deliveries.extend([lease, wrong], until=NOW + 60) == {lease.delivery.id}
    assert await claimed(records, NOW + 59) == []


async def test_the_next_of_a_lane_can_be_fetched_by_who_holds_the_first(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids)
    (first,) = await claimed(records, NOW)
    (second,) = await claimed(records, NOW, after=first)
    assert second.delivery.payload.reference == ids[1]
    assert await claimed(records, NOW, after=first) == []
    assert await claimed(records, NOW) == []
    await settle(records, first, now=NOW, state=DeliveryState.PENDING, next_at=NOW + 10)
    await settle(records, second, now=NOW, state=DeliveryState.PENDING)
    assert await claimed(records, NOW + 9) == []
    (again,) = await claimed(records, NOW + 10)
    assert again.delivery.payload.reference == ids[0]
    assert await claimed(records, NOW, after=first) == []  # its token holds no more


async def test_a_retry_waits_its_time_and_keeps_its_place(records: Records, ids: list[int]) -> None:
    await queued(records, ids)
    (lease,) = await claimed(records, NOW)
    why = {
        "about": FailureSubject.PAYLOAD,
        "phase": "response",
        "status": 0xA900,
        "detail": "refused",
        "refused": True,
    }
    await settle(records, lease, now=NOW, state=DeliveryState.PENDING, next_at=NOW + 10, **why)
    kept = await records.deliveries.delivery(NORTH, lease.delivery.id)
    assert (kept.refusals, kept.status, kept.about, kept.phase) == (
        1,
        0xA900,
        FailureSubject.PAYLOAD,
        "response",
    )
    (due,) = await records.deliveries.due(NORTH, "ward")
    assert (due.target, due.at) == (PACS, NOW + 10)
    assert await claimed(records, NOW + 9) == []
    assert [one.delivery.id for one in await claimed(records, NOW + 10)] == [lease.delivery.id]


@pytest.mark.parametrize(
    ("state", "goes_on"), [(DeliveryState.DEAD_LETTER, True), (DeliveryState.STOPPED, False)]
)
async def test_a_dead_letter_lets_its_lane_go_on_and_a_stopped_one_does_not(
    records: Records, ids: list[int], state: DeliveryState, goes_on: bool
) -> None:
    await queued(records, ids)
    (lease,) = await claimed(records, NOW)
    await settle(records, lease, now=NOW, state=state)
    assert bool(await claimed(records, NOW + 999)) is goes_on


async def test_an_open_breaker_gives_nothing_and_then_one(records: Records, ids: list[int]) -> None:
    await queued(records, ids[:2], lane="H-1")
    await queued(records, ids[2:], lane="H-2")
    first, second = await claimed(records, NOW)
    broken = DestinationState(
        target=PACS, breaker=BreakerState.OPEN, failures=3, retry_at=NOW + 20, failing_since=NOW
    )
    waits = [
        settled(one, DeliveryState.PENDING, about=FailureSubject.DESTINATION)
        for one in (first, second)
    ]
    await records.deliveries.settle(waits, broken, now=NOW)
    assert [due.at for due in await records.deliveries.due(NORTH, "ward")] == [NOW + 20]
    assert await claimed(records, NOW + 19) == []
    claim = await records.deliveries.claim(NORTH, PACS, 9, now=NOW + 20, until=NOW + 50)
    assert (len(claim.leases), claim.state.breaker) == (1, BreakerState.HALF_OPEN)
    assert await claimed(records, NOW + 20, after=claim.leases[0]) == []
    assert await claimed(records, NOW + 21) == []
    await records.deliveries.extend(claim.leases, until=NOW + 80)
    assert await claimed(records, NOW + 79) == []
    closed = DestinationState(target=PACS, delivered_at=NOW + 22)
    await records.deliveries.settle([settled(claim.leases[0])], closed, now=NOW + 22)
    assert len(await claimed(records, NOW + 22)) == 2
    assert (await records.deliveries.destinations(NORTH, [PACS], now=NOW + 22))[
        PACS
    ].delivered_at == NOW + 22


async def test_a_lapsed_probe_is_repeated(records: Records, ids: list[int]) -> None:
    await queued(records, ids)
    (lease,) = await claimed(records, NOW)
    broken = DestinationState(target=PACS, breaker=BreakerState.OPEN, retry_at=NOW + 20)
    await records.deliveries.settle([settled(lease, DeliveryState.PENDING)], broken, now=NOW)
    assert len(await claimed(records, NOW + 20)) == 1
    assert len(await claimed(records, NOW + 50)) == 1


async def test_a_paused_destination_gives_nothing_and_resuming_closes_its_breaker(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids)
    deliveries = records.deliveries
    (lease,) = await claimed(records, NOW)
    broken = DestinationState(
        target=PACS, breaker=BreakerState.OPEN, failures=9, retry_at=NOW + 999
    )
    await deliveries.settle([settled(lease, DeliveryState.PENDING)], broken, now=NOW)
    paused = await deliveries.pause(NORTH, PACS, paused=True, now=NOW, event=EVENT)
    assert (paused.paused, paused.paused_by, paused.counts) == (True, "invented", {"pending": 4})
    assert (await claimed(records, NOW + 9999), await deliveries.due(NORTH, "ward")) == ([], ())
    resumed = await deliveries.pause(NORTH, PACS, paused=False, now=NOW, event=EVENT)
    assert (resumed.paused, resumed.breaker, resumed.failures) == (False, BreakerState.CLOSED, 0)
    assert len(await claimed(records, NOW)) == 1


async def test_a_pause_outlives_a_settlement(records: Records, ids: list[int]) -> None:
    await queued(records, ids)
    (lease,) = await claimed(records, NOW)
    await records.deliveries.pause(NORTH, PACS, paused=True, now=NOW, event=EVENT)
    await records.deliveries.settle([settled(lease)], DestinationState(target=PACS), now=NOW)
    assert await claimed(records, NOW + 1) == []


async def test_people_park_skip_and_resend(records: Records, ids: list[int]) -> None:
    await queued(records, ids)
    deliveries = records.deliveries
    first = min(one.id for one in (await deliveries.deliveries(NORTH, ALL)).items)
    act = {"reason": "not requested", "now": NOW, "event": EVENT}
    assert await deliveries.act(NORTH, ALL, [first], DeliveryState.PARKED, **act) == 1
    (lease,) = await claimed(records, NOW)
    assert lease.delivery.payload.reference == ids[1]
    with pytest.raises(ConflictError):
        await deliveries.act(NORTH, ALL, [lease.delivery.id], DeliveryState.PARKED, **act)
    with pytest.raises(NotFoundError):
        await deliveries.act(SOUTH, ALL, [first], DeliveryState.SKIPPED, **act)
    await settle(records, lease, now=NOW)
    assert await deliveries.act(NORTH, ALL, [first], DeliveryState.PENDING, **act) == 1
    order = []
    while leases := await claimed(records, NOW):
        order.append(leases[0].delivery.payload.reference)
        await settle(records, leases[0], now=NOW)
    assert order == [ids[2], ids[3], ids[0]]
    assert (
        await deliveries.act(NORTH, ALL, [first], DeliveryState.SKIPPED, **act) == 0
    )  # it is delivered


@pytest.mark.parametrize(
    "left", [DeliveryState.STOPPED, DeliveryState.DEAD_LETTER, DeliveryState.PENDING]
)
async def test_one_can_be_tried_now_in_its_old_place_with_its_counters(
    records: Records, ids: list[int], left: DeliveryState
) -> None:
    await queued(records, ids)
    (lease,) = await claimed(records, NOW)
    now = {"in_place": True, "reason": "", "now": NOW + 1, "event": EVENT}
    with pytest.raises(ConflictError):
        await records.deliveries.act(NORTH, ALL, [lease.delivery.id], DeliveryState.PENDING, **now)
    await settle(records, lease, state=left, refused=True, next_at=NOW + 900, now=NOW)
    assert (
        await records.deliveries.act(NORTH, ALL, [lease.delivery.id], DeliveryState.PENDING, **now)
        == 1
    )
    (again,) = await claimed(records, NOW + 1)
    assert (again.delivery.id, again.delivery.refusals, again.delivery.tries) == (
        lease.delivery.id,
        1,
        2,
    )
    await settle(records, again, now=NOW + 1)
    assert (
        await records.deliveries.act(NORTH, ALL, [lease.delivery.id], DeliveryState.PENDING, **now)
        == 0
    ), "it is delivered"


async def test_many_are_changed_at_once_but_not_what_is_under_way(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids)
    (lease,) = await claimed(records, NOW)
    search = DeliverySearch(link="ward", destination="pacs", parent="1.2.1")
    done = await records.deliveries.act(
        NORTH, search, (), DeliveryState.SKIPPED, reason="wrong patient", now=NOW, event=EVENT
    )
    assert done == 3
    skipped = (
        await records.deliveries.deliveries(
            NORTH, DeliverySearch(states=frozenset({DeliveryState.SKIPPED}))
        )
    ).items
    assert {one.detail for one in skipped} == {"wrong patient"}
    assert await settle(records, lease, now=NOW)
    counts = (await records.deliveries.destinations(NORTH, [PACS, ARCHIVE], now=NOW))[PACS].counts
    assert counts == {"skipped": 3, "delivered": 1}


async def test_a_limited_search_needs_both_the_instance_and_the_destination(
    records: Records, ids: list[int]
) -> None:
    await admitted_link(records, name="tower-link", facility="tower")
    theirs = await records.instances.commit(
        NORTH, arrival("1.2.9", "9", link="tower-link"), now=NOW
    )
    await queued(records, [ids[0], theirs.id])
    await queued(records, [ids[1], theirs.id], target=Target(link="tower-link", destination="pacs"))
    found = {
        name: [
            (one.payload.reference, one.target.link)
            for one in (await records.deliveries.deliveries(NORTH, search)).items
        ]
        for name in ("clinic", "tower")
        if (search := DeliverySearch(facilities=frozenset({name})))
    }
    assert found == {"clinic": [(ids[0], "ward")], "tower": [(theirs.id, "tower-link")]}
    both = DeliverySearch(facilities=frozenset({"clinic", "tower"}))
    assert len((await records.deliveries.deliveries(NORTH, both)).items) == 4
    done = await records.deliveries.act(
        NORTH, search, (), DeliveryState.SKIPPED, reason="x", now=NOW, event=EVENT
    )
    assert done == 1
    states = await records.deliveries.destinations(
        NORTH, [PACS], now=NOW, facilities=frozenset({"tower"})
    )
    assert (states[PACS].counts, states[PACS].oldest) == ({"pending": 1}, NOW)
    states = await records.deliveries.destinations(
        NORTH, [PACS], now=NOW, facilities=frozenset({"beach"})
    )
    assert (states[PACS].counts, states[PACS].oldest) == ({}, None)


async def test_a_lapsed_lease_can_be_taken_by_a_person(records: Records, ids: list[int]) -> None:
    await queued(records, ids)
    (lease,) = await claimed(records, NOW)
    search = DeliverySearch(identifier="1.2.0")
    assert (
        await records.deliveries.act(
            NORTH, search, (), DeliveryState.SKIPPED, reason="", now=NOW + 30, event=EVENT
        )
        == 1
    )
    assert not await settle(records, lease, now=NOW + 31)


async def test_one_destination_does_not_hold_up_another(records: Records, ids: list[int]) -> None:
    await queued(records, ids)
    await records.deliveries.add(NORTH, [new(ids[0], target=ARCHIVE)], now=NOW)
    (lease,) = await claimed(records, NOW)
    await settle(records, lease, now=NOW, state=DeliveryState.STOPPED)
    claim = await records.deliveries.claim(NORTH, ARCHIVE, 1, now=NOW, until=NOW + 30)
    assert len(claim.leases) == 1
    states = await records.deliveries.destinations(NORTH, [PACS, ARCHIVE], now=NOW)
    assert (states[PACS].counts, states[PACS].oldest) == ({"pending": 3, "stopped": 1}, NOW)
    assert states[ARCHIVE].counts == {"sending": 1}


@pytest.mark.parametrize(
    "other",
    [ARCHIVE, Target(link="annex", destination="pacs")],
    ids=["of the same Link", "of the same name"],
)
async def test_breaker_and_pause_are_each_destinations_own(
    records: Records, ids: list[int], other: Target
) -> None:
    await queued(records, ids)
    await records.deliveries.add(NORTH, [new(one, target=other) for one in ids], now=NOW)
    (lease,) = await claimed(records, NOW)
    broken = DestinationState(
        target=PACS,
        breaker=BreakerState.OPEN,
        failures=3,
        retry_at=NOW + 20,
        detail="down",
        failing_since=NOW,
    )
    await records.deliveries.settle([settled(lease, DeliveryState.PENDING)], broken, now=NOW)
    (probe,) = await claimed(records, NOW + 20)
    await records.deliveries.extend([probe], until=NOW + 60)
    await records.deliveries.pause(NORTH, PACS, paused=True, now=NOW + 21, event=EVENT)
    state = (await records.deliveries.destinations(NORTH, [other], now=NOW + 21))[other]
    assert msgspec.structs.replace(state, counts={}, oldest=None) == DestinationState(target=other)
    claim = await records.deliveries.claim(NORTH, other, 9, now=NOW + 21, until=NOW + 51)
    assert len(claim.leases) == 1
    well = DestinationState(target=other, delivered_at=NOW + 22)
    await records.deliveries.settle([settled(claim.leases[0])], well, now=NOW + 22)
    state = (await records.deliveries.destinations(NORTH, [PACS], now=NOW + 22))[PACS]
    assert (state.paused, state.breaker, state.failures, state.detail, state.delivered_at) == (
        True,
        BreakerState.HALF_OPEN,
        3,
        "down",
        None,
    )


async def test_deliveries_page_newest_first_within_the_facilities(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids)
    first = await records.deliveries.deliveries(NORTH, ALL, PageRequest(3))
    rest = await records.deliveries.deliveries(NORTH, ALL, PageRequest(3, first.next))
    assert [one.payload.reference for one in (*first.items, *rest.items)] == ids[::-1]
    nowhere = DeliverySearch(facilities=frozenset())
    assert (await records.deliveries.deliveries(NORTH, nowhere)).items == ()
    with pytest.raises(NotFoundError):
        await records.deliveries.delivery(SOUTH, first.items[0].id)


async def test_each_attempt_is_kept_with_its_outcome_the_newest_first(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids[:2])
    why = {
        "about": FailureSubject.PAYLOAD,
        "phase": "response",
        "status": 0xA900,
        "detail": "it does not match",
    }
    (lease,) = await claimed(records, NOW)
    await settle(
        records, lease, now=NOW, state=DeliveryState.PENDING, refused=True, attempt=tried(0), **why
    )
    (lease,) = await claimed(records, NOW + 1)
    await settle(records, lease, now=NOW + 1, state=DeliveryState.PENDING)  # nothing began
    (lease,) = await claimed(records, NOW + 2)
    await settle(
        records,
        lease,
        now=NOW + 2,
        state=DeliveryState.WARNED,
        status=0xB000,
        detail="coerced",
        attempt=tried(2),
    )
    assert not await settle(records, lease, now=NOW + 3, attempt=tried(3)), (
        "its token holds no more"
    )
    found = (await records.deliveries.attempts(NORTH, lease.delivery.id)).items
    warned = DeliveryAttempt(
        **fields(tried(2)), number=3, state=DeliveryState.WARNED, status=0xB000, detail="coerced"
    )
    assert found == (
        warned,
        DeliveryAttempt(**fields(tried(0)), number=1, state=DeliveryState.PENDING, **why),
    )
    assert (await records.deliveries.attempts(SOUTH, lease.delivery.id)).items == ()
    assert (await records.deliveries.attempts(NORTH, lease.delivery.id + 1)).items == ()


async def test_the_last_attempts_are_kept_also_over_a_resend(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids[:1])
    for step in range(MAX_ATTEMPTS + 3):
        (lease,) = await claimed(records, NOW + step)
        await settle(
            records, lease, now=NOW + step, state=DeliveryState.PENDING, attempt=tried(step)
        )
    await records.deliveries.act(
        NORTH, ALL, [lease.delivery.id], DeliveryState.SKIPPED, reason="", now=NOW, event=EVENT
    )
    await records.deliveries.act(
        NORTH, ALL, [lease.delivery.id], DeliveryState.PENDING, reason="", now=NOW, event=EVENT
    )
    (lease,) = await claimed(records, NOW + 99)
    await settle(records, lease, now=NOW + 99, attempt=tried(99))
    first = await records.deliveries.attempts(NORTH, lease.delivery.id, PageRequest(9))
    rest = await records.deliveries.attempts(NORTH, lease.delivery.id, PageRequest(99, first.next))
    began = [one.began - NOW for one in (*first.items, *rest.items)]
    assert began == [99, *range(MAX_ATTEMPTS + 2, 3, -1)]
    assert len(began) == MAX_ATTEMPTS
    assert [one.number for one in first.items[:2]] == [MAX_ATTEMPTS + 4, MAX_ATTEMPTS + 3], (
        "the tries go on"
    )


async def test_what_came_to_its_end_is_audited(records: Records, ids: list[int]) -> None:
    await queued(records, ids)
    (lease,) = await claimed(records, NOW)
    await settle(records, lease, now=NOW, state=DeliveryState.PENDING)
    (lease,) = await claimed(records, NOW)
    await settle(records, lease, now=NOW, state=DeliveryState.WARNED, status=0xB000)
    types = [record.event.type for record in (await records.audit.records(NORTH)).items]
    assert types[0] == "delivery.warned"
    assert sum(one.startswith("delivery.") for one in types) == 1
    assert (await records.audit.verify(NORTH)).broken_at is None


async def test_claims_at_the_same_time_share_nothing(records: Records, ids: list[int]) -> None:
    await queued(records, ids[:2], lane="H-1")
    await queued(records, ids[2:], lane="H-2")
    claims = await asyncio.gather(*(claimed(records, NOW, limit=1) for _ in range(4)))
    assert sorted(len(claim) for claim in claims) == [0, 0, 1, 1]
    assert len({lease.delivery.id for claim in claims for lease in claim}) == 2


async def test_a_persons_wish_is_audited_with_it(records: Records, ids: list[int]) -> None:
    before = len((await records.audit.records(NORTH)).items)
    await records.deliveries.add(NORTH, [new(ids[0])], now=NOW)
    await records.deliveries.add(NORTH, [new(ids[1], cause="person:t/1")], now=NOW, event=EVENT)
    assert len((await records.audit.records(NORTH)).items) == before + 1


async def test_every_destination_that_was_used_is_known(records: Records, ids: list[int]) -> None:
    await queued(records, ids[:2])
    await queued(records, ids[:1], target=ARCHIVE)
    found = await records.deliveries.destinations(NORTH, None, now=NOW)
    assert {target: state.counts for target, state in found.items()} == {
        PACS: {"pending": 2},
        ARCHIVE: {"pending": 1},
    }
    assert await records.deliveries.destinations(SOUTH, None, now=NOW) == {}


async def test_what_waits_can_be_made_dead_letters_and_sent_again(
    records: Records, ids: list[int]
) -> None:
    await queued(records, ids[:3])
    (lease,) = await claimed(records, NOW)
    act = {"reason": "there is no such destination", "event": EVENT}
    assert (
        await records.deliveries.act(NORTH, ALL, [], DeliveryState.DEAD_LETTER, now=NOW, **act) == 2
    )
    assert await settle(records, lease, now=NOW)
    assert await claimed(records, NOW + 99) == []
    dead = DeliverySearch(states=frozenset({DeliveryState.DEAD_LETTER}))
    assert {one.detail for one in (await records.deliveries.deliveries(NORTH, dead)).items} == {
        act["reason"]
    }
    assert (
        await records.deliveries.act(
            NORTH, dead, [], DeliveryState.PENDING, reason="", now=NOW, event=EVENT
        )
        == 2
    )
    assert len(await claimed(records, NOW + 99)) == 1
