"""What becomes of a delivery and its destination after one attempt."""

import msgspec
import pytest

from swallowtail.calls.config import AtCap, Destination
from swallowtail.calls.deliver import About, DeliverAnswer, Delivered, DeliveryPhase, NotDelivered
from swallowtail.cloud.dispatch.outcomes import NotBegun, Outcome, PayloadSuspected, RouteLost
from swallowtail.cloud.dispatch.payloads.instance_sender import outcome_of
from swallowtail.cloud.dispatch.planner import (
    LINK_CEILING,
    RETRY,
    Plan,
    is_suspect,
    plan,
    wait,
)
from swallowtail.cloud.model.delivery import (
    INSTANCE,
    BreakerState,
    Delivery,
    DeliveryState,
    DestinationState,
    Lease,
    Payload,
)
from tests.conformance.invented import EXPLICIT, NORTH, NOW, US
from tests.unit.cloud.dispatch.stage import (
    ABORTED,
    DESTINATION,
    DOWN,
    LINK_STOPS,
    OUT_OF_RESOURCES,
    PACS,
    REFUSED,
    delivered,
)

DELIVERY = Delivery(
    id=1,
    target=PACS,
    payload=Payload(
        kind=INSTANCE,
        reference=1,
        facility="clinic",
        parent="1.2",
        identifier="1.2.3",
        type=US,
        format=EXPLICIT,
    ),
    lane="",
    priority=0,
    cause="rule:r/1",
    state=DeliveryState.SENDING,
    place=1,
    created=NOW,
    changed=NOW,
    tries=1,
)
AWAY = RouteLost("gone")
NO_CONTEXT = NotDelivered(
    about=About.INSTANCE, phase=DeliveryPhase.CONTEXT, detail="it does not take the SOP class"
)
STALLED = NotDelivered(about=About.DESTINATION, phase=DeliveryPhase.SEND, detail="it takes nothing")
REJECTED = NotDelivered(about=About.DESTINATION, phase=DeliveryPhase.ASSOCIATE, detail="it rejects")
FORBIDDEN = NotDelivered(
    about=About.DESTINATION, phase=DeliveryPhase.POLICY, detail="the hospital's policy forbids it"
)
LATER = NotDelivered(
    about=About.LINK, phase=DeliveryPhase.LIMIT, detail="too many new targets", after=42.0
)


def lease(**more: object) -> Lease:
    return Lease(
        tenant=NORTH, delivery=msgspec.structs.replace(DELIVERY, **more), token=1, until=NOW + 60
    )


def planned(
    outcome: Outcome | DeliverAnswer,
    *,
    held: Lease | None = None,
    state: DestinationState | None = None,
    to: Destination = DESTINATION,
) -> Plan:
    return plan(
        held or lease(),
        state or DestinationState(target=PACS),
        to,
        outcome_of(outcome) if isinstance(outcome, Delivered | NotDelivered) else outcome,
        now=NOW,
        random=0.5,
    )


@pytest.mark.parametrize(
    ("outcome", "state", "cuts", "failures"),
    [
        (delivered(b""), DeliveryState.DELIVERED, 0, 0),
        (delivered(b"", 0xB000), DeliveryState.WARNED, 0, 0),
        (DOWN, DeliveryState.PENDING, 2, 1),
        (REJECTED, DeliveryState.PENDING, 2, 1),
        (FORBIDDEN, DeliveryState.PENDING, 2, 1),
        (OUT_OF_RESOURCES, DeliveryState.PENDING, 0, 1),
        (ABORTED, DeliveryState.PENDING, 3, 1),
        (STALLED, DeliveryState.PENDING, 3, 1),
        (REFUSED, DeliveryState.PENDING, 0, 0),
        (LINK_STOPS, DeliveryState.PENDING, 2, 0),
        (LATER, DeliveryState.PENDING, 2, 0),
        (AWAY, DeliveryState.PENDING, 2, 0),
        (PayloadSuspected(outcome_of(ABORTED), "a C-ECHO"), DeliveryState.DEAD_LETTER, 3, 0),
    ],
)
def test_outcomes(outcome: Outcome, state: DeliveryState, cuts: int, failures: int) -> None:
    made = planned(outcome, held=lease(cuts=2))
    assert (made.settlement.state, made.settlement.cuts, made.state.failures) == (
        state,
        cuts,
        failures,
    )
    assert made.settlement.detail == getattr(outcome, "detail", made.settlement.detail)


def test_cuts_count_for_ever_as_long_as_nothing_is_known_of_the_destination() -> None:
    for cuts, outcome, suspect in (
        (2, ABORTED, False),
        (3, ABORTED, True),
        (3, STALLED, True),
        (9, DOWN, False),
        (9, REFUSED, False),
    ):
        assert is_suspect(lease(cuts=cuts), DESTINATION, outcome_of(outcome)) is suspect


def test_a_culprit_stops_its_lane_where_the_destination_wants_that() -> None:
    made = planned(
        PayloadSuspected(outcome_of(ABORTED), "a C-ECHO"),
        to=msgspec.structs.replace(DESTINATION, at_cap=AtCap.STOP),
    )
    assert (made.settlement.state, made.settlement.refused, made.done) == (
        DeliveryState.STOPPED,
        True,
        False,
    )


def test_the_third_failure_opens_and_others_of_the_same_outage_count_once() -> None:
    state = DestinationState(target=PACS)
    for failures, breaker in (
        (1, BreakerState.CLOSED),
        (2, BreakerState.CLOSED),
        (3, BreakerState.OPEN),
        (3, BreakerState.OPEN),
    ):
        state = planned(DOWN, state=state).state
        assert (state.failures, state.breaker, state.failing_since) == (failures, breaker, NOW)
    half = msgspec.structs.replace(state, breaker=BreakerState.HALF_OPEN)
    assert planned(DOWN, state=half).state.failures == 4
    assert planned(LINK_STOPS, state=half).state.breaker is BreakerState.OPEN
    closed = planned(REFUSED, state=half).state
    assert (closed.breaker, closed.failures, closed.failing_since) == (BreakerState.CLOSED, 0, None)


@pytest.mark.parametrize(
    ("failures", "ceiling"), [(0, 2), (1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (10_000, 300)]
)
def test_the_interval_is_full_jitter_under_a_doubling_ceiling(
    failures: int, ceiling: float
) -> None:
    assert wait(failures, 0.0) == 0.0
    assert wait(failures, 0.5) == ceiling / 2


@pytest.mark.parametrize(("refusals", "seconds"), [(0, 1.0), (1, 2.0), (2, 4.0)])
def test_an_instance_that_was_refused_waits_longer_each_time(refusals: int, seconds: float) -> None:
    made = planned(
        REFUSED, held=lease(refusals=refusals), to=msgspec.structs.replace(DESTINATION, attempts=9)
    )
    assert (made.settlement.state, made.settlement.refused) == (DeliveryState.PENDING, True)
    assert made.settlement.next_at == NOW + seconds


@pytest.mark.parametrize(
    ("at_cap", "state"),
    [(AtCap.STOP, DeliveryState.STOPPED), (AtCap.PARK, DeliveryState.DEAD_LETTER)],
)
def test_the_last_refusal_stops_the_lane_or_makes_a_dead_letter(
    at_cap: AtCap, state: DeliveryState
) -> None:
    made = planned(
        REFUSED,
        held=lease(refusals=4),
        to=msgspec.structs.replace(DESTINATION, attempts=5, at_cap=at_cap),
    )
    assert (made.settlement.state, made.settlement.refused, made.done) == (
        state,
        True,
        state is DeliveryState.DEAD_LETTER,
    )


@pytest.mark.parametrize(
    ("at_cap", "state"),
    [(AtCap.STOP, DeliveryState.STOPPED), (AtCap.PARK, DeliveryState.DEAD_LETTER)],
)
def test_what_cannot_succeed_is_at_the_cap_at_once(at_cap: AtCap, state: DeliveryState) -> None:
    patient = msgspec.structs.replace(DESTINATION, attempts=5, at_cap=at_cap)
    made = planned(msgspec.structs.replace(NO_CONTEXT, permanent=True), to=patient)
    assert (made.settlement.state, made.settlement.refused, made.done) == (
        state,
        True,
        state is DeliveryState.DEAD_LETTER,
    )
    assert planned(NO_CONTEXT, to=patient).settlement.state is DeliveryState.PENDING


def test_what_link_returned_is_due_at_once_and_says_nothing_about_the_destination() -> None:
    made = planned(NotBegun("the one before it did not arrive"))
    assert (made.settlement.state, made.settlement.next_at, made.settlement.refused) == (
        DeliveryState.PENDING,
        NOW,
        False,
    )
    assert made.state == DestinationState(target=PACS)


@pytest.mark.parametrize(("after", "seconds"), [(42.0, 42.0), (1e9, RETRY.last)])
def test_a_link_that_says_when_is_asked_then_and_no_breaker_counts_it(
    after: float, seconds: float
) -> None:
    made = planned(msgspec.structs.replace(LATER, after=after))
    assert NOW + seconds <= made.settlement.next_at <= NOW + seconds + LINK_CEILING
    assert made.state == DestinationState(target=PACS)
