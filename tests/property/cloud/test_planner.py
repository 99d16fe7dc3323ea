"""The planner over any course of outcomes.

Nothing is lost, only the instance's own refusals count, the breaker closes again.
"""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from swallowtail.calls.config import AtCap, Destination
from swallowtail.calls.deliver import About, DeliverAnswer, Delivered, DeliveryPhase, NotDelivered
from swallowtail.cloud.dispatch.outcomes import Outcome, RouteLost
from swallowtail.cloud.dispatch.payloads.instance_sender import outcome_of
from swallowtail.cloud.dispatch.planner import OPEN_AFTER, RETRY, plan
from swallowtail.cloud.model.delivery import (
    INSTANCE,
    BreakerState,
    Delivery,
    DeliveryState,
    DestinationState,
    Lease,
    Payload,
    Target,
)
from swallowtail.cloud.model.tenancy import Tenant

TARGET = Target(link="ward", destination="pacs")
NEW = Delivery(
    id=1,
    target=TARGET,
    payload=Payload(
        kind=INSTANCE,
        reference=1,
        facility="clinic",
        parent="1.2",
        identifier="1.2.3",
        type="1.2.840.10008.5.1.4.1.1.6.1",
        format="1.2.840.10008.1.2.1",
    ),
    lane="",
    priority=0,
    cause="rule:r/1",
    state=DeliveryState.SENDING,
    place=1,
    created=0.0,
    changed=0.0,
)
failures = st.builds(
    NotDelivered,
    about=st.sampled_from(About),
    phase=st.sampled_from(DeliveryPhase),
    detail=st.text(max_size=1000),
    status=st.none() | st.sampled_from([0xA700, 0xA900, 0xC000, 0x0110]),
)
aways = st.builds(RouteLost, detail=st.just("gone"), session_ended=st.booleans())
successes = st.builds(
    Delivered,
    length=st.just(1),
    crc32=st.just(1),
    status=st.sampled_from([0, 0xB000, 0xB006, 0xB007]),
    seconds=st.just(0.1),
)


def converted(outcome: DeliverAnswer | RouteLost) -> Outcome:
    return outcome if isinstance(outcome, RouteLost) else outcome_of(outcome)


outcomes = st.lists(
    st.tuples(failures | aways | successes, st.floats(0, 1, exclude_max=True)),
    min_size=1,
    max_size=30,
)
destinations = st.builds(
    Destination,
    name=st.just("pacs"),
    host=st.just("192.0.2.7"),
    port=st.just(104),
    ae_title=st.just("PACS"),
    attempts=st.integers(1, 5),
    at_cap=st.sampled_from(AtCap),
)


@given(outcomes, destinations)
def test_a_delivery_is_tried_until_it_is_there_or_refused_so_often(
    course: list[tuple[DeliverAnswer | RouteLost, float]], destination: Destination
) -> None:
    state, delivery, now, refusals = DestinationState(target=TARGET), NEW, 1000.0, 0
    for outcome, random_source in course:
        lease = Lease(
            tenant=Tenant("heron"), delivery=delivery, token=delivery.tries, until=now + 60
        )
        planned = plan(lease, state, destination, converted(outcome), now=now, random=random_source)
        settled = planned.settlement
        assert (settled.delivery, settled.token) == (lease.delivery.id, lease.token)
        refused = isinstance(outcome, NotDelivered) and outcome.about is About.INSTANCE
        refusals += refused
        assert settled.refused is refused
        if isinstance(outcome, Delivered):
            assert settled.state is (
                DeliveryState.WARNED if outcome.status else DeliveryState.DELIVERED
            )
            assert planned.done
        elif refused and refusals >= destination.attempts:
            assert settled.state is (
                DeliveryState.STOPPED
                if destination.at_cap is AtCap.STOP
                else DeliveryState.DEAD_LETTER
            )
        else:
            assert settled.state is DeliveryState.PENDING
            assert now <= settled.next_at <= now + RETRY.last
            assert not planned.done
        _check_breaker(state, planned.state, outcome, now)
        if settled.state is not DeliveryState.PENDING:
            return
        state = planned.state
        now = max(now, settled.next_at, state.retry_at)
        if state.breaker is BreakerState.OPEN:  # as a claim makes it
            state = msgspec.structs.replace(
                state, breaker=BreakerState.HALF_OPEN, retry_at=now + 60
            )
        delivery = msgspec.structs.replace(delivery, tries=delivery.tries + 1, refusals=refusals)


def _check_breaker(
    before: DestinationState,
    after: DestinationState,
    outcome: DeliverAnswer | RouteLost,
    now: float,
) -> None:
    """The destination's own failures open it, anything that it answered closes it, what Link says
    does neither.
    """
    if isinstance(outcome, Delivered) or (
        isinstance(outcome, NotDelivered) and outcome.about is About.INSTANCE
    ):
        assert (after.breaker, after.failures, after.failing_since) == (
            BreakerState.CLOSED,
            0,
            None,
        )
    elif isinstance(outcome, NotDelivered) and outcome.about is About.DESTINATION:
        assert after.failures == before.failures + 1
        opens = after.failures >= OPEN_AFTER or before.breaker is BreakerState.HALF_OPEN
        assert after.breaker is (BreakerState.OPEN if opens else BreakerState.CLOSED)
        assert after.failing_since is not None
        assert not opens or now <= after.retry_at <= now + RETRY.last
    else:
        assert after.failures == before.failures
        assert after.breaker is not BreakerState.HALF_OPEN


@given(failures, st.floats(0, 1, exclude_max=True))
def test_the_same_outage_seen_by_many_connections_counts_once(
    outcome: NotDelivered, random_source: float
) -> None:
    opened = DestinationState(
        target=TARGET, breaker=BreakerState.OPEN, failures=3, retry_at=1010.0, failing_since=1.0
    )
    destination = Destination(name="pacs", host="192.0.2.7", port=104, ae_title="PACS")
    down = msgspec.structs.replace(outcome, about=About.DESTINATION)
    lease = Lease(tenant=Tenant("heron"), delivery=NEW, token=1, until=1060.0)
    planned = plan(lease, opened, destination, converted(down), now=1000.0, random=random_source)
    assert (planned.state, planned.settlement.next_at) == (opened, 1010.0)
