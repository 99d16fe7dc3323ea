"""The resource `deliveries`: list, retry, park, skip, resend; and sending a stored study."""

from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Query
from pydantic import Field, StringConstraints, WithJsonSchema

from swallowtail.cloud.dispatch.delivery_administration import (
    BulkActionType,
    DeliveryAdministration,
    Selected,
)
from swallowtail.cloud.dispatch.destination_administration import id_of
from swallowtail.cloud.dispatch.payloads.conditions import Conditions
from swallowtail.cloud.dispatch.payloads.kind import PayloadKind
from swallowtail.cloud.dispatch.payloads.table import KINDS
from swallowtail.cloud.model.delivery import (
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    FailureSubject,
)
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.payload_filters import (
    body_schema,
    query_filters,
)
from swallowtail.cloud.web.api.schemas import (
    MAX_NUMBER,
    Body,
    Name,
    Out,
    PageOut,
    RowId,
    Timestamp,
    UidPath,
    UidText,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import PATIENT_DATA_READERS, QUEUE_MANAGERS
from swallowtail.cloud.web.route import BY_FACILITY, Route
from swallowtail.cloud.web.use_cases import provided

Administration = Annotated[DeliveryAdministration, provided(DeliveryAdministration)]
Reason = Annotated[str, StringConstraints(max_length=400, strip_whitespace=True)]
GivenReason = Annotated[str, StringConstraints(min_length=1, max_length=400, strip_whitespace=True)]
DestinationKey = Annotated[str, StringConstraints(min_length=3, max_length=128)]
PayloadText = Annotated[str, StringConstraints(min_length=1, max_length=128)]
MAX_NAMED = 1000
MAX_PRIORITY = 1000


class DeliveryOut(Out):
    """One payload on its way to one destination, with the outcome of its last attempt.

    `tries` counts all attempts, `refusals` those that the destination refused because of the
    payload, which the cap limits. `status` is the destination's, for instances the DIMSE status in
    hexadecimal. `about` and `phase` are the subject and the phase of the last
    failure.
    """

    id: int
    destination: str
    link: str
    facility: str
    payload: Annotated[
        dict[str, Any], WithJsonSchema({"oneOf": [kind.schema() for kind in KINDS.values()]})
    ]
    priority: int
    cause: str
    state: DeliveryState
    created: Timestamp
    changed: Timestamp
    next_at: float
    """Time of the next attempt; 0: as soon as it is its turn."""
    tries: int
    refusals: int
    status: str | None
    about: FailureSubject | None
    phase: str | None
    detail: str
    sent_format: str
    """The format that was delivered, for instances the transfer syntax."""


class AttemptOut(Out):
    """One attempt at a delivery and its outcome.

    `state` is the delivery's after the attempt. `number` is the delivery's `tries` at that time; a
    resend does not reset it. A missing number is an attempt that did not begin, because the one
    before it failed or the Link was offline, or whose outcome was lost with the Cloud's process.
    `epoch` is the Link's session, `configuration` the version of the Link's configuration.
    """

    number: int
    began: float
    ended: Timestamp
    state: DeliveryState
    status: str | None
    about: FailureSubject | None
    phase: str | None
    detail: str
    comment: str
    """The destination's own text, for instances the Error Comment (0000,0902)."""
    seconds: float | None
    """Duration of the transfer from the Link to the destination, of a success."""
    sent_format: str
    """The format that was sent, or would have been."""
    epoch: int
    configuration: int
    connection: int
    """Number of the destination's connection, from 0."""


class Skip(Body):
    """The reason of a skip, which is kept with the delivery."""

    reason: GivenReason


class Park(Body):
    """The reason of parking a delivery."""

    reason: Reason = ""


class BulkAction(Body):
    """An action on every delivery that matches, or of these on those that `deliveries` names.

    At least one of `destination`, `link`, `payload` and `deliveries` is required. `skip` requires a
    reason.
    """

    action: BulkActionType
    destination: DestinationKey | None = None
    link: str | None = None
    payload: Annotated[dict[str, PayloadText], WithJsonSchema(body_schema(KINDS))] = Field(
        default_factory=dict
    )
    """Fields of the payload and the values they must have."""
    states: tuple[DeliveryState, ...] = ()
    deliveries: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=1, le=MAX_NUMBER)], ...],
        Field(max_length=MAX_NAMED),
    ] = ()
    reason: Reason = ""


class BulkActionResult(Out):
    """The number of deliveries that changed.

    One request changes at most 10,000; repeat it until the number is 0.
    """

    changed: int


class Send(Body):
    """The destinations of a stored study, or of the named instances of it.

    A request with the same `request` queues nothing twice, so that it can be repeated after a
    failure. Without it a new one is generated.
    """

    destinations: Annotated[list[DestinationKey], Field(min_length=1, max_length=16)]
    sop_instances: Annotated[tuple[UidText, ...], Field(max_length=MAX_NAMED)] = ()
    priority: Annotated[int, Field(strict=True, ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = 0
    request: Name | None = None


class SentOut(Out):
    """The number of new deliveries, and the `request` to repeat."""

    request: str
    queued: int


async def list_deliveries(
    caller: InOrganisation,
    deliveries: Administration,
    page: Paging,
    conditions: Annotated[Conditions, Depends(query_filters(KINDS))],
    *,
    destination: Annotated[str | None, Query(max_length=128)] = None,
    link: str | None = None,
    state: Annotated[list[DeliveryState] | None, Query()] = None,
) -> PageOut[DeliveryOut]:
    """List deliveries.

    Returns the deliveries that match, newest first. Several `state` match any of them.
    """
    selected = Selected(destination, link, frozenset(state or ()))
    found = await deliveries.deliveries(caller, selected, conditions, page)
    return page_out(found, lambda one: delivery_out(*one))


async def get_delivery(
    caller: InOrganisation, deliveries: Administration, delivery_id: RowId
) -> DeliveryOut:
    """Get a delivery.

    Returns one delivery with the outcome of its last attempt.
    """
    return delivery_out(*await deliveries.delivery(caller, delivery_id))


async def list_attempts(
    caller: InOrganisation, deliveries: Administration, delivery_id: RowId, page: Paging
) -> PageOut[AttemptOut]:
    """List the attempts at a delivery.

    Returns the last 20 attempts, newest first. The audit log has the actions of people.
    """
    attempts, kind = await deliveries.attempts(caller, delivery_id, page)
    return page_out(attempts, lambda one: attempt_out(one, kind))


async def skip_delivery(
    caller: InOrganisation, deliveries: Administration, delivery_id: RowId, body: Skip
) -> DeliveryOut:
    """Skip a delivery.

    It is not sent, and its lane continues. The reason is kept with it.
    """
    return delivery_out(*await deliveries.skip(caller, delivery_id, body.reason))


async def park_delivery(
    caller: InOrganisation, deliveries: Administration, delivery_id: RowId, body: Park
) -> DeliveryOut:
    """Park a delivery.

    It is not sent before it is resent or retried. Its lane continues.
    """
    return delivery_out(*await deliveries.park(caller, delivery_id, body.reason))


async def resend_delivery(
    caller: InOrganisation, deliveries: Administration, delivery_id: RowId
) -> DeliveryOut:
    """Resend a delivery.

    Queues it again from any state and resets its refusals. It goes to the end of its lane, so what
    was queued since is sent before it. One that has stopped its lane keeps its place. To send a
    dead letter in its old place, retry it.
    """
    return delivery_out(*await deliveries.resend(caller, delivery_id))


async def retry_delivery(
    caller: InOrganisation, deliveries: Administration, delivery_id: RowId
) -> DeliveryOut:
    """Retry a delivery.

    Makes a delivery that is pending, stopped, parked or a dead letter due now, in its old place.
    Its refusals are not reset: when the destination refuses it again at the cap, it is stopped or a
    dead letter again after that one attempt.
    """
    return delivery_out(*await deliveries.retry(caller, delivery_id))


async def change_deliveries(
    caller: InOrganisation, deliveries: Administration, body: BulkAction
) -> BulkActionResult:
    """Park, skip or resend many deliveries.

    Changes all dead letters of a destination, for example. Deliveries that are being sent are
    omitted.
    """
    changed = await deliveries.change_many(
        caller,
        body.action,
        Selected(body.destination, body.link, frozenset(body.states)),
        payload=body.payload,
        named=body.deliveries,
        reason=body.reason,
    )
    return BulkActionResult(changed=changed)


async def send_study(
    caller: InOrganisation, deliveries: Administration, study_uid: UidPath, body: Send
) -> SentOut:
    """Send a study.

    Queues what is stored of a study for destinations, independently of the rules.
    """
    request, queued = await deliveries.send_study(
        caller,
        study_uid,
        body.destinations,
        sop_instances=body.sop_instances,
        request=body.request,
        priority=body.priority,
    )
    return SentOut(request=request, queued=queued)


def delivery_out(delivery: Delivery, kind: PayloadKind) -> DeliveryOut:
    """Return a delivery as the API shows it."""
    given = {
        name: getattr(delivery, name)
        for name in DeliveryOut.model_fields
        if hasattr(delivery, name)
    }
    return DeliveryOut(
        **given
        | {
            "destination": id_of(delivery.target),
            "link": delivery.target.link,
            "facility": delivery.payload.facility,
            "payload": kind.represent(delivery.payload),
            "status": _status(delivery.status, kind),
        }
    )


def attempt_out(attempt: DeliveryAttempt, kind: PayloadKind) -> AttemptOut:
    """Return an attempt as the API shows it."""
    given = msgspec.structs.asdict(attempt)
    return AttemptOut(**given | {"status": _status(attempt.status, kind)})


def _status(status: int | None, kind: PayloadKind) -> str | None:
    return None if status is None else kind.write_status(status)


_DELIVERY: Final = "/deliveries/{delivery_id}"

ROUTES: Final = (
    Route(
        "GET",
        "/deliveries",
        list_deliveries,
        PATIENT_DATA_READERS,
        BY_FACILITY,
        "deliveries",
        use_case=DeliveryAdministration.deliveries,
    ),
    Route(
        "POST",
        "/deliveries/bulk-actions",
        change_deliveries,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "deliveries",
        use_case=DeliveryAdministration.change_many,
        audit="deliveries.{action}",
    ),
    Route(
        "GET",
        _DELIVERY,
        get_delivery,
        PATIENT_DATA_READERS,
        BY_FACILITY,
        "deliveries",
        use_case=DeliveryAdministration.delivery,
    ),
    Route(
        "GET",
        f"{_DELIVERY}/attempts",
        list_attempts,
        PATIENT_DATA_READERS,
        BY_FACILITY,
        "deliveries",
        use_case=DeliveryAdministration.attempts,
    ),
    Route(
        "POST",
        f"{_DELIVERY}/park",
        park_delivery,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "deliveries",
        use_case=DeliveryAdministration.park,
        audit="delivery.park",
    ),
    Route(
        "POST",
        f"{_DELIVERY}/resend",
        resend_delivery,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "deliveries",
        use_case=DeliveryAdministration.resend,
        audit="delivery.resend",
    ),
    Route(
        "POST",
        f"{_DELIVERY}/retry",
        retry_delivery,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "deliveries",
        use_case=DeliveryAdministration.retry,
        audit="delivery.retry",
    ),
    Route(
        "POST",
        f"{_DELIVERY}/skip",
        skip_delivery,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "deliveries",
        use_case=DeliveryAdministration.skip,
        audit="delivery.skip",
    ),
    Route(
        "POST",
        "/studies/{study_uid}/send",
        send_study,
        PATIENT_DATA_READERS,
        BY_FACILITY,
        "imaging",
        use_case=DeliveryAdministration.send_study,
        audit="study.send",
    ),
)
