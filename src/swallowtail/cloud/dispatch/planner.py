"""Decides what becomes of a delivery and of its destination's breaker after an attempt.

Pure: time and randomness are arguments.

A failure is about one of three subjects. The *destination*: retried without limit, at growing
intervals, and after OPEN_AFTER failures in a row its breaker opens until the interval is over. The
*payload*: counts towards the destination's cap, and shows that the destination responds; one that
cannot succeed is at the cap at once. The *route*: retried soon, or when the route asks for it,
and not counted for the other two.

A connection that ends during a payload is about the destination, until that has happened so often
in a row with the same payload that the destination, if it responds otherwise, is not the cause:
then the payload is stopped or a dead letter, or it would block its lane for ever. After
MAX_SUSPECTED payloads in a row the destination is the cause again.
"""

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from swallowtail.calls.config import AtCap
from swallowtail.cloud.dispatch.attempt import DeliveryDestination
from swallowtail.cloud.dispatch.outcomes import (
    Failure,
    NotBegun,
    Outcome,
    PayloadSuspected,
    RouteLost,
    Success,
)
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
CUTS_PER_ATTEMPT: Final = 2
"""Times the destination's attempts, so many cuts in a row make an instance suspect.

A cut states less than an answer does. With the default of five attempts that is the lane's patience
of some nine minutes, since the intervals grow.
"""
MAX_SUSPECTED: Final = 3
"""Payloads in a row that end for cuts without any that is delivered."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The settlement of an attempt and the new state of its destination."""

    settlement: Settlement
    state: DestinationState

    @property
    def done(self) -> bool:
        """Return whether the lane continues with the next delivery."""
        return self.settlement.state in {
            DeliveryState.DELIVERED,
            DeliveryState.WARNED,
            DeliveryState.DEAD_LETTER,
        }


def wait(failures: int, random: float) -> float:
    """Return the seconds before the next attempt: full jitter under a ceiling that doubles.

    `random` is from 0 to 1, 1 excluded.
    """
    return RETRY.delay(failures - 1, random)


def is_cut(outcome: Outcome) -> bool:
    """Return whether the connection ended during the transfer, without a response."""
    return isinstance(outcome, Failure) and outcome.interrupted


def is_suspect(lease: Lease, destination: DeliveryDestination, outcome: Outcome) -> bool:
    """Return whether this payload was cut so often that the destination has to be examined."""
    return is_cut(outcome) and lease.delivery.cuts + 1 >= CUTS_PER_ATTEMPT * destination.attempts


def plan(
    lease: Lease,
    state: DestinationState,
    destination: DeliveryDestination,
    outcome: Outcome,
    *,
    sent_format: str = "",
    now: float,
    random: float,
) -> Plan:
    """Decide about one attempt, in which `sent_format` was sent."""
    match outcome:
        case Success():
            return _delivered(lease, state, outcome, sent_format, now)
        case Failure(about=FailureSubject.DESTINATION):
            return _destination_failed(lease, state, outcome, now, random)
        case Failure(about=FailureSubject.PAYLOAD):
            return _payload_refused(
                lease, state, destination, outcome, now + wait(lease.delivery.refusals + 1, random)
            )
        case PayloadSuspected():
            return _suspected(lease, state, destination, outcome)
        case NotBegun():
            return Plan(_settlement(lease, DeliveryState.PENDING, outcome, next_at=now), state)
        case Failure() | RouteLost():
            return _route_failed(lease, state, outcome, now, random)


def _settlement(
    lease: Lease,
    state: DeliveryState,
    outcome: Failure | RouteLost | NotBegun,
    *,
    next_at: float = 0.0,
) -> Settlement:
    answer = outcome if isinstance(outcome, Failure) else None
    return Settlement(
        tenant=lease.tenant,
        delivery=lease.delivery.id,
        token=lease.token,
        state=state,
        next_at=next_at,
        status=answer.status if answer else None,
        about=answer.about if answer else FailureSubject.ROUTE,
        phase=answer.phase if answer else None,
        detail=outcome.detail[:MAX_DETAIL],
        cuts=_cuts(lease, outcome),
    )


def _cuts(lease: Lease, outcome: Failure | RouteLost | NotBegun) -> int:
    """Count cuts in a row: an answer ends the row.

    What failed before the instance was sent does not, for a cut may be a crash.
    """
    if isinstance(outcome, Failure) and (
        outcome.status is not None or outcome.about is FailureSubject.PAYLOAD
    ):
        return 0
    return lease.delivery.cuts + is_cut(outcome)


def _closed(state: DestinationState) -> DestinationState:
    return msgspec.structs.replace(
        state, breaker=BreakerState.CLOSED, failures=0, retry_at=0.0, detail="", failing_since=None
    )


def _delivered(
    lease: Lease, state: DestinationState, outcome: Success, sent_format: str, now: float
) -> Plan:
    settlement = Settlement(
        tenant=lease.tenant,
        delivery=lease.delivery.id,
        token=lease.token,
        state=DeliveryState.WARNED if outcome.warned else DeliveryState.DELIVERED,
        status=outcome.status,
        detail=outcome.comment if outcome.warned else "",
        sent_format=sent_format or lease.delivery.payload.format,
    )
    return Plan(settlement, msgspec.structs.replace(_closed(state), delivered_at=now))


def _destination_failed(
    lease: Lease, state: DestinationState, outcome: Failure, now: float, random: float
) -> Plan:
    if (
        state.breaker is BreakerState.OPEN
    ):  # it was under way when another opened the breaker: the same outage, counted once
        return Plan(
            _settlement(lease, DeliveryState.PENDING, outcome, next_at=state.retry_at), state
        )
    failures = state.failures + 1
    retry_at = now + wait(failures, random)
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


def _payload_refused(
    lease: Lease,
    state: DestinationState,
    destination: DeliveryDestination,
    outcome: Failure,
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


def _suspected(
    lease: Lease,
    state: DestinationState,
    destination: DeliveryDestination,
    outcome: PayloadSuspected,
) -> Plan:
    end = DeliveryState.STOPPED if destination.at_cap is AtCap.STOP else DeliveryState.DEAD_LETTER
    cuts = lease.delivery.cuts + 1
    times = (
        f"{cuts} times in a row the connection ended during this {lease.delivery.payload.kind}, and"
        f" {destination.name} responds to {outcome.evidence}"
    )
    failure = replace(
        outcome.failure,
        about=FailureSubject.PAYLOAD,
        detail=f"{times}: examine the {lease.delivery.payload.kind}, and the log there."
        f" {outcome.failure.detail}",
    )
    settlement = _settlement(lease, end, failure)
    return Plan(msgspec.structs.replace(settlement, refused=True, cuts=cuts), _closed(state))


def _route_failed(
    lease: Lease, state: DestinationState, outcome: Failure | RouteLost, now: float, random: float
) -> Plan:
    removed = isinstance(outcome, RouteLost) and outcome.session_ended
    named = min(outcome.after, RETRY.last) if isinstance(outcome, Failure) else 0.0
    retry_at = (
        now if removed else now + named + LINK_CEILING * random
    )  # without a session nobody tries before the next one
    if state.breaker is BreakerState.HALF_OPEN:  # the probe did not report: the next one may go
        state = msgspec.structs.replace(state, breaker=BreakerState.OPEN, retry_at=retry_at)
    return Plan(_settlement(lease, DeliveryState.PENDING, outcome, next_at=retry_at), state)
