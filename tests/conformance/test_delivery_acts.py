"""What people may do with a delivery in each of its states.

Every cell of the table, and what becomes of its lane.
"""

import pytest

from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.delivery import (
    INSTANCE,
    DeliverySearch,
    DeliveryState,
    Lease,
    NewDelivery,
    Settlement,
    Target,
)
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, admitted_link, arrival, indexed

PACS = Target(link="ward", destination="pacs")
S = DeliveryState
BY_SETTLING = (S.STOPPED, S.DEAD_LETTER, S.DELIVERED, S.WARNED)
BY_HAND = (S.PARKED, S.SKIPPED)
MAY = {
    "park": {S.PENDING, S.STOPPED},
    "skip": {S.PENDING, S.STOPPED, S.PARKED, S.DEAD_LETTER},
    "end": {S.PENDING, S.STOPPED},
    "resend": {S.STOPPED, S.PARKED, S.DEAD_LETTER, S.SKIPPED, S.DELIVERED, S.WARNED},
    "retry": {S.PENDING, S.STOPPED, S.PARKED, S.DEAD_LETTER},
}
"""Which states a delivery may be in for each act.

What waits anyway needs no resend, and what is done is not retried.
"""
BECOMES = {
    "park": S.PARKED,
    "skip": S.SKIPPED,
    "end": S.DEAD_LETTER,
    "resend": S.PENDING,
    "retry": S.PENDING,
}


async def claim(records: Records, now: float) -> Lease | None:
    leases = (await records.deliveries.claim(NORTH, PACS, 1, now=now, until=now + 30)).leases
    return leases[0] if leases else None


async def act(records: Records, what: str, now: float) -> int:
    first = DeliverySearch(identifier="1.2.0")
    more = {"in_place": what == "retry", "reason": "invented", "now": now, "event": EVENT}
    return await records.deliveries.act(NORTH, first, (), BECOMES[what], **more)


async def brought_to(records: Records, state: DeliveryState) -> None:
    """Queue three in one lane, and bring the first to a state with its counters used."""
    await admitted_link(records)
    made = [
        (await records.instances.commit(NORTH, arrival(f"1.2.{n}", str(n)), now=NOW)).id
        for n in range(3)
    ]
    await records.index_jobs.settle([indexed(one) for one in made], now=NOW)
    await records.deliveries.add(
        NORTH,
        [NewDelivery(target=PACS, kind=INSTANCE, reference=one, cause="rule:r/1") for one in made],
        now=NOW,
    )
    lease = await claim(records, NOW)
    assert lease is not None
    key = {
        "tenant": NORTH,
        "delivery": lease.delivery.id,
        "token": lease.token,
        "refused": True,
        "cuts": 1,
        "status": 0xA900,
    }
    if state is not S.SENDING:
        settled = state if state in BY_SETTLING else S.PENDING
        await records.deliveries.settle(
            [Settlement(**key, state=settled, next_at=NOW + 99)], None, now=NOW
        )
    if state in BY_HAND:
        await act(records, "park" if state is S.PARKED else "skip", NOW)


@pytest.mark.parametrize("what", MAY)
@pytest.mark.parametrize("state", S)
async def test_an_act_changes_a_delivery_in_these_states_and_no_other(
    records: Records, state: DeliveryState, what: str
) -> None:
    await brought_to(records, state)
    before = (await records.deliveries.deliveries(NORTH, DeliverySearch(identifier="1.2.0"))).items[
        0
    ]
    assert before.state is state
    verified = (await records.audit.verify(NORTH)).records
    changed = state in MAY[what]
    assert await act(records, what, NOW + 1) == int(changed)
    after = await records.deliveries.delivery(NORTH, before.id)
    assert after.state is (BECOMES[what] if changed else state)
    assert (await records.audit.verify(NORTH)).records == verified + changed
    if not changed:
        assert after == before
        return
    assert after.next_at == 0.0
    assert (after.refusals, after.cuts, after.status) == (
        (0, 0, None) if what == "resend" else (1, 1, 0xA900)
    )
    if what in {"park", "skip", "end"}:
        assert after.detail == "invented"
    following = await claim(records, NOW + 1)
    assert following is not None
    keeps_place = what == "retry" or (what == "resend" and state is S.STOPPED)
    assert following.delivery.payload.identifier == ("1.2.0" if keeps_place else "1.2.1")
    assert after.tries == before.tries


@pytest.mark.parametrize(
    ("state", "last"), [(S.DEAD_LETTER, True), (S.SKIPPED, True), (S.STOPPED, False)]
)
async def test_what_is_sent_again_goes_last_unless_it_had_stopped_its_lane(
    records: Records, state: DeliveryState, last: bool
) -> None:
    await brought_to(records, state)
    await act(records, "resend", NOW + 1)
    order = []
    while (lease := await claim(records, NOW + 2)) is not None:
        order.append(lease.delivery.payload.identifier)
        done = Settlement(
            tenant=NORTH, delivery=lease.delivery.id, token=lease.token, state=S.DELIVERED
        )
        await records.deliveries.settle([done], None, now=NOW + 2)
    assert order == (["1.2.1", "1.2.2", "1.2.0"] if last else ["1.2.0", "1.2.1", "1.2.2"])


async def raised(records: Records) -> list[tuple[Condition, str]]:
    return [(one.condition, one.subject) for one in (await records.alarms.alarms(NORTH)).items]


ALARMS = {S.DEAD_LETTER: Condition.DEAD_LETTER, S.STOPPED: Condition.LANE_STOPPED}


@pytest.mark.parametrize("state", S)
async def test_what_waits_for_a_person_is_alarmed_with_its_settlement_and_nothing_else_is(
    records: Records, state: DeliveryState
) -> None:
    await brought_to(records, state)
    assert await raised(records) == ([(ALARMS[state], "ward/pacs")] if state in ALARMS else [])
    assert (await records.alarms.alarms(SOUTH)).items == ()


@pytest.mark.parametrize("what", ["park", "skip", "resend", "retry"])
@pytest.mark.parametrize("state", ALARMS)
async def test_its_alarm_is_cleared_with_what_a_person_decides(
    records: Records, state: DeliveryState, what: str
) -> None:
    await brought_to(records, state)
    changed = await act(records, what, NOW + 1)
    assert bool(changed) == (state in MAY[what])
    assert (await raised(records) == []) == bool(changed)


async def test_an_alarm_of_dead_letters_stays_until_the_last_is_decided_and_is_new_with_each(
    records: Records,
) -> None:
    await brought_to(records, S.DEAD_LETTER)
    (alarm,) = (await records.alarms.alarms(NORTH)).items
    await records.alarms.acknowledge(NORTH, alarm.id, now=NOW, event=EVENT)
    lease = await claim(records, NOW)
    assert lease is not None
    key = {"tenant": NORTH, "delivery": lease.delivery.id, "token": lease.token, "refused": True}
    await records.deliveries.settle(
        [Settlement(**key, state=S.DEAD_LETTER, detail="it is refused")], None, now=NOW
    )
    (alarm,) = (await records.alarms.alarms(NORTH)).items
    assert (alarm.count, alarm.acknowledged, "it is refused" in alarm.detail) == (2, None, True)
    await act(records, "skip", NOW + 1)
    assert await raised(records) == [(Condition.DEAD_LETTER, "ward/pacs")]
    await records.deliveries.act(
        NORTH, DeliverySearch(), [lease.delivery.id], S.PENDING, reason="", now=NOW + 1, event=EVENT
    )
    assert await raised(records) == []


async def test_what_the_machinery_ends_is_alarmed_once(records: Records) -> None:
    await brought_to(records, S.PENDING)
    await records.deliveries.act(
        NORTH, DeliverySearch(), (), S.DEAD_LETTER, reason="put it back", now=NOW, event=EVENT
    )
    (alarm,) = (await records.alarms.alarms(NORTH)).items
    assert (alarm.condition, alarm.count, "put it back" in alarm.detail) == (
        Condition.DEAD_LETTER,
        1,
        True,
    )
