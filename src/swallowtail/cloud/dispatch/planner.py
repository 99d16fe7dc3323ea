"""What becomes of a delivery and of its destination's breaker after an attempt.

Pure: time and dice are arguments.

A failure is about one of three things. The *destination*: tried for ever, at growing intervals, and
after OPEN_AFTER failures in a row nobody tries it before the interval is over. The *instance*:
counts towards the destination's cap, and shows that the destination answers; what cannot succeed,
its presentation context being refused for good and no way there to transcode, is at the cap at
once. *Link*: tried again soon, or when Link says, and says nothing about the other two.

An association that ends under an instance is about the destination, until it has ended so often in
a row under this very one that a destination which answers a C-ECHO meanwhile can no longer be
blamed: then the instance is set aside, or it would block its lane for ever. A destination that ends
it under everything is not believed its C-ECHO: after MAX_BLAMED instances in a row it is to blame
again.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from swallowtail.calls.config import AtCap, Destination
from swallowtail.calls.deliver import About, DeliverAnswer, Delivered, DeliveryPhase, NotDelivered
from swallowtail.cloud.model.delivery import (
    BreakerState,
    DeliveryState,
    DestinationState,
    FailureSubject,
    Lease,
    Settlement,
)
from swallowtail.sansio.backoff import Backoff

OPEN_AFTER: Final = 3
"""Failures of a destination in a row that open its breaker."""
RETRY: Final = Backoff(first=2.0, last=300.0)
LINK_CEILING: Final = 2.0
MAX_DETAIL: Final = 400
SUBJECTS: Final = {
    About.DESTINATION: FailureSubject.DESTINATION,
    About.INSTANCE: FailureSubject.PAYLOAD,
    About.LINK: FailureSubject.ROUTE,
}
CUTS_PER_ATTEMPT: Final = 2
"""Times the destination's attempts, so many cuts in a row make an instance suspect.

A cut says less than an answer does. With the default of five attempts that is the lane's patience
of some nine minutes, since the intervals grow.
"""
MAX_BLAMED: Final = 3
"""Instances in a row that are set aside for cuts without any that arrives."""


@dataclass(frozen=True, slots=True)
class LinkAway:
    """The session ended, or the Link did not answer as it should; `gone`.

    There is no session to try again on.
    """

    detail: str
    gone: bool = True


@dataclass(frozen=True, slots=True)
class Returned:
    """Link did not begin it, since the one before it on its connection did not arrive."""

    detail: str


@dataclass(frozen=True, slots=True)
class Culprit:
    """The association has ended again under the same instance, and the destination is well
    otherwise.
    """

    answer: NotDelivered


Outcome = DeliverAnswer | LinkAway | Returned | Culprit


@dataclass(frozen=True, slots=True)
class Plan:
    """What to keep.

    `state` is the destination's, unchanged where the attempt says nothing about it.
    """

    settlement: Settlement
    state: DestinationState

    @property
    def done(self) -> bool:
        """Whether the lane goes on with the next delivery."""
        return self.settlement.state in {
            DeliveryState.DELIVERED,
            DeliveryState.WARNED,
            DeliveryState.DEAD_LETTER,
        }


def wait(failures: int, dice: float) -> float:
    """Give the seconds before the next try: full jitter under a ceiling that doubles.

    `dice` is from 0 to 1, 1 excluded.
    """
    return RETRY.delay(failures - 1, dice)


def is_cut(outcome: Outcome) -> bool:
    """Say whether the association ended while the instance was under way, without an answer."""
    match outcome:
        case NotDelivered(
            about=About.DESTINATION, phase=DeliveryPhase.SEND | DeliveryPhase.RESPONSE, status=None
        ):
            return True
    return False


def is_suspect(lease: Lease, destination: Destination, outcome: Outcome) -> bool:
    """Say whether a cut has followed this instance often enough to find out whether the destination
    is well otherwise.
    """
    return is_cut(outcome) and lease.delivery.cuts + 1 >= CUTS_PER_ATTEMPT * destination.attempts


def plan(
    lease: Lease,
    state: DestinationState,
    destination: Destination,
    outcome: Outcome,
    *,
    sent_format: str = "",
    now: float,
    dice: float,
) -> Plan:
    """Decide about one attempt.

    `sent_format` is the transfer syntax that the instance was sent in.
    """
    match outcome:
        case Delivered():
            return _delivered(lease, state, outcome, sent_format, now)
        case NotDelivered(about=About.DESTINATION):
            return _destination_failed(lease, state, outcome, now, dice)
        case NotDelivered(about=About.INSTANCE):
            return _instance_refused(
                lease, state, destination, outcome, now + wait(lease.delivery.refusals + 1, dice)
            )
        case Culprit(answer):
            return _culprit(lease, state, destination, answer)
        case Returned():
            return Plan(_settlement(lease, DeliveryState.PENDING, outcome, next_at=now), state)
        case NotDelivered() | LinkAway():
            return _link_failed(lease, state, outcome, now, dice)


def _settlement(
    lease: Lease,
    state: DeliveryState,
    outcome: NotDelivered | LinkAway | Returned,
    *,
    next_at: float = 0.0,
) -> Settlement:
    answer = outcome if isinstance(outcome, NotDelivered) else None
    return Settlement(
        tenant=lease.tenant,
        delivery=lease.delivery.id,
        token=lease.token,
        state=state,
        next_at=next_at,
        status=answer.status if answer else None,
        about=SUBJECTS[answer.about] if answer else FailureSubject.ROUTE,
        phase=answer.phase if answer else None,
        detail=outcome.detail[:MAX_DETAIL],
        cuts=_cuts(lease, outcome),
    )


def _cuts(lease: Lease, outcome: NotDelivered | LinkAway | Returned) -> int:
    """Count cuts in a row: an answer ends the row.

    What failed before the instance was sent does not, for a cut may be a crash.
    """
    if isinstance(outcome, NotDelivered) and (
        outcome.status is not None or outcome.about is About.INSTANCE
    ):
        return 0
    return lease.delivery.cuts + is_cut(outcome)


def _closed(state: DestinationState) -> DestinationState:
    return msgspec.structs.replace(
        state, breaker=BreakerState.CLOSED, failures=0, retry_at=0.0, detail="", failing_since=None
    )


def _delivered(
    lease: Lease, state: DestinationState, outcome: Delivered, sent_format: str, now: float
) -> Plan:
    settlement = Settlement(
        tenant=lease.tenant,
        delivery=lease.delivery.id,
        token=lease.token,
        state=DeliveryState.WARNED if outcome.status else DeliveryState.DELIVERED,  # PS3.4 B.2.3
        status=outcome.status,
        detail=outcome.comment if outcome.status else "",
        sent_format=sent_format or lease.delivery.payload.format,
    )
    return Plan(settlement, msgspec.structs.replace(_closed(state), delivered_at=now))


def _destination_failed(
    lease: Lease, state: DestinationState, outcome: NotDelivered, now: float, dice: float
) -> Plan:
    if (
        state.breaker is BreakerState.OPEN
    ):  # it was under way when another opened the breaker: the same outage, counted once
        return Plan(
            _settlement(lease, DeliveryState.PENDING, outcome, next_at=state.retry_at), state
        )
    failures = state.failures + 1
    retry_at = now + wait(failures, dice)
    opens = failures >= OPEN_AFTER or state.breaker is BreakerState.HALF_OPEN
    failing = msgspec.structs.replace(
        state,
        breaker=BreakerState.OPEN if opens else BreakerState.CLOSED,
        failures=failures,
        retry_at=retry_at if opens else 0.0,
        detail=outcome.detail[:MAX_DETAIL],
        failing_since=now if state.failing_since is None else state.failing_since,
    )
    return Plan(_settlement(lease, DeliveryState.PENDING, outcome, next_at=retry_at), failing)


def _instance_refused(
    lease: Lease,
    state: DestinationState,
    destination: Destination,
    outcome: NotDelivered,
    retry_at: float,
) -> Plan:
    if not outcome.permanent and lease.delivery.refusals + 1 < destination.attempts:
        settlement = _settlement(lease, DeliveryState.PENDING, outcome, next_at=retry_at)
    else:
        end = (
            DeliveryState.STOPPED if destination.at_cap is AtCap.STOP else DeliveryState.DEAD_LETTER
        )
        settlement = _settlement(lease, end, outcome)
    return Plan(msgspec.structs.replace(settlement, refused=True), _closed(state))


def _culprit(
    lease: Lease, state: DestinationState, destination: Destination, outcome: NotDelivered
) -> Plan:
    end = DeliveryState.STOPPED if destination.at_cap is AtCap.STOP else DeliveryState.DEAD_LETTER
    times = (
        f"{lease.delivery.cuts + 1} times in a row the association ended under this instance, and"
        f" {destination.name} answers"
    )
    blamed = msgspec.structs.replace(
        outcome,
        about=About.INSTANCE,
        detail=f"{times} a C-ECHO: look at the instance, and at the log there. {outcome.detail}",
    )
    settlement = _settlement(lease, end, blamed)
    return Plan(
        msgspec.structs.replace(settlement, refused=True, cuts=lease.delivery.cuts + 1),
        _closed(state),
    )


def _link_failed(
    lease: Lease, state: DestinationState, outcome: NotDelivered | LinkAway, now: float, dice: float
) -> Plan:
    gone = isinstance(outcome, LinkAway) and outcome.gone
    named = min(outcome.after, RETRY.last) if isinstance(outcome, NotDelivered) else 0.0
    retry_at = (
        now if gone else now + named + LINK_CEILING * dice
    )  # without a session nobody tries before the next one
    if state.breaker is BreakerState.HALF_OPEN:  # the probe did not tell: the next one may go
        state = msgspec.structs.replace(state, breaker=BreakerState.OPEN, retry_at=retry_at)
    return Plan(_settlement(lease, DeliveryState.PENDING, outcome, next_at=retry_at), state)
