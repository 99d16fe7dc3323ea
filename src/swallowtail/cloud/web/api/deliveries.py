"""The resource `deliveries`: list, retry, park, skip, resend; and sending a stored study."""

import enum
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Query
from pydantic import Field, StringConstraints, WithJsonSchema

from swallowtail.cloud.dispatch.destination_administration import (
    DestinationAdministration,
    id_of,
    objects_of,
    target_of,
)
from swallowtail.cloud.dispatch.payloads.kind import PayloadKind
from swallowtail.cloud.dispatch.payloads.table import KINDS
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.delivery import (
    Delivery,
    DeliveryAttempt,
    DeliverySearch,
    DeliveryState,
    FailureSubject,
    Target,
)
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.visibility import visible_link
from swallowtail.cloud.web.access import Caller, InOrganisation
from swallowtail.cloud.web.api.payload_filters import (
    Conditions,
    body_filters,
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
    UidPath,
    UidText,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.problems import invalid
from swallowtail.cloud.web.roles import PATIENT_DATA_READERS, QUEUE_MANAGERS
from swallowtail.cloud.web.route import BY_FACILITY, Route

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
    hexadecimal. `about` and `phase` say what the last failure was about and how far it had come.
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
    created: float
    changed: float
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
    ended: float
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


class BulkActionType(enum.StrEnum):
    """An action on many deliveries."""

    PARK = "park"
    SKIP = "skip"
    RESEND = "resend"


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
        tuple[Annotated[int, Field(ge=1, le=MAX_NUMBER)], ...], Field(max_length=MAX_NAMED)
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
    priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = 0
    request: Name | None = None


class SentOut(Out):
    """The number of new deliveries, and the `request` to repeat."""

    request: str
    queued: int


async def list_deliveries(
    caller: InOrganisation,
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
    search = await _search(
        caller, destination, link, states=frozenset(state or ()), conditions=conditions
    )
    found = await caller.services.queues.deliveries(caller.tenant, search, page)
    return page_out(found, lambda one: _out(caller, one))


async def get_delivery(caller: InOrganisation, delivery_id: RowId) -> DeliveryOut:
    """Get a delivery.

    Returns one delivery with the outcome of its last attempt.
    """
    return _out(caller, await _delivery(caller, delivery_id))


async def list_attempts(
    caller: InOrganisation, delivery_id: RowId, page: Paging
) -> PageOut[AttemptOut]:
    """List the attempts at a delivery.

    Returns the last 20 attempts, newest first. The audit log has the actions of people.
    """
    delivery = await _delivery(caller, delivery_id)
    attempts = await caller.services.queues.attempts(
        caller.tenant, delivery_id, page, facilities=caller.principal.facilities
    )
    kind = caller.services.queues.kinds[delivery.payload.kind]
    return page_out(attempts, lambda one: attempt_out(one, kind))


async def skip_delivery(caller: InOrganisation, delivery_id: RowId, body: Skip) -> DeliveryOut:
    """Skip a delivery.

    It is not sent, and its lane continues. The reason is kept with it.
    """

    async def skip(search: DeliverySearch, event: AuditEvent) -> int:
        return await caller.services.queues.skip(
            caller.tenant, search, [delivery_id], reason=body.reason, event=event
        )

    return await _change_one(caller, delivery_id, "skip", skip, detail=body.reason)


async def park_delivery(caller: InOrganisation, delivery_id: RowId, body: Park) -> DeliveryOut:
    """Park a delivery.

    It is not sent before it is resent or retried. Its lane continues.
    """

    async def park(search: DeliverySearch, event: AuditEvent) -> int:
        return await caller.services.queues.park(
            caller.tenant, search, [delivery_id], reason=body.reason, event=event
        )

    return await _change_one(caller, delivery_id, "park", park, detail=body.reason)


async def resend_delivery(caller: InOrganisation, delivery_id: RowId) -> DeliveryOut:
    """Resend a delivery.

    Queues it again from any state and resets its refusals. It goes to the end of its lane, so what
    was queued since is sent before it. One that has stopped its lane keeps its place. To send a
    dead letter in its old place, retry it.
    """

    async def resend(search: DeliverySearch, event: AuditEvent) -> int:
        return await caller.services.queues.resend(
            caller.tenant, search, [delivery_id], event=event
        )

    return await _change_one(caller, delivery_id, "resend", resend)


async def retry_delivery(caller: InOrganisation, delivery_id: RowId) -> DeliveryOut:
    """Retry a delivery.

    Makes a delivery that is pending, stopped, parked or a dead letter due now, in its old place.
    Its refusals are not reset: when the destination refuses it again at the cap, it is stopped or a
    dead letter again after that one attempt.
    """

    async def retry(search: DeliverySearch, event: AuditEvent) -> int:
        return await caller.services.queues.retry(
            caller.tenant, delivery_id, facilities=search.facilities, event=event
        )

    return await _change_one(caller, delivery_id, "retry", retry)


async def change_deliveries(caller: InOrganisation, body: BulkAction) -> BulkActionResult:
    """Park, skip or resend many deliveries.

    Changes all dead letters of a destination, for example. Deliveries that are being sent are
    omitted.
    """
    if body.action is BulkActionType.SKIP and not body.reason:
        raise invalid("$.reason", "a skip requires a reason, which is kept with each delivery")
    if not (body.destination or body.link or body.payload or body.deliveries):
        raise invalid("$.destination", "give a destination, link, payload or deliveries")
    queues, named = caller.services.queues, body.deliveries
    search = await _search(
        caller,
        body.destination,
        body.link,
        states=frozenset(body.states),
        conditions=body_filters(queues.kinds, body.payload, field="$.payload"),
    )
    objects = (("destination", search.destination), ("link", search.link), *body.payload.items())
    event = caller.event(
        EventAction.UPDATE,
        f"deliveries.{body.action}",
        *(pair for pair in objects if pair[1]),
        *(("delivery", str(one)) for one in body.deliveries),
        event=EventId.APPLICATION_ACTIVITY,
        detail=body.reason,
    )
    match body.action:
        case BulkActionType.PARK:
            changed = await queues.park(
                caller.tenant, search, named, reason=body.reason, event=event
            )
        case BulkActionType.SKIP:
            changed = await queues.skip(
                caller.tenant, search, named, reason=body.reason, event=event
            )
        case BulkActionType.RESEND:
            changed = await queues.resend(caller.tenant, search, named, event=event)
    return BulkActionResult(changed=changed)


async def send_study(caller: InOrganisation, study_uid: UidPath, body: Send) -> SentOut:
    """Send a study.

    Queues what is stored of a study for destinations, independently of the rules.
    """
    targets = [await _target(caller, index, one) for index, one in enumerate(body.destinations)]
    request = body.request or new_id(caller.services.random)
    queued = 0
    for target in dict.fromkeys(targets):
        event = caller.event(
            EventAction.EXECUTE,
            "study.send",
            ("study", study_uid),
            *objects_of(target),
            event=EventId.BEGIN_TRANSFERRING,
        )
        queued += await caller.services.queues.send(
            caller.tenant,
            study_uid,
            target,
            sop_instances=body.sop_instances,
            request=request,
            priority=body.priority,
            facilities=caller.principal.facilities,
            event=event,
        )
    return SentOut(request=request, queued=queued)


async def _target(caller: Caller, index: int, destination_id: str) -> Target:
    try:
        return (
            await caller.services.use_cases.get(DestinationAdministration).configured(
                caller, destination_id
            )
        ).target
    except NotFoundError as error:
        raise invalid(f"$.destinations[{index}]", str(error)) from error


async def _search(
    caller: Caller,
    destination: str | None,
    link: str | None,
    *,
    states: frozenset[DeliveryState],
    conditions: Conditions,
) -> DeliverySearch:
    """Create a search within the caller's facilities.

    The destination may be one that is no longer configured.
    """
    target = (
        target_of(destination)
        if destination is not None
        else Target(link=link or "", destination="")
    )
    if target.link:
        await visible_link(caller.services.links, caller, target.link)
    if link is not None and link != target.link:
        raise invalid("link", "is not the Link of the destination; name one of the two")
    return DeliverySearch(
        link=target.link,
        destination=target.destination,
        states=states,
        **conditions,
        facilities=caller.principal.facilities,
    )


async def _delivery(caller: Caller, delivery_id: int) -> Delivery:
    return await caller.services.queues.delivery(
        caller.tenant, delivery_id, facilities=caller.principal.facilities
    )


async def _change_one(
    caller: Caller,
    delivery_id: int,
    action: str,
    change: Callable[[DeliverySearch, AuditEvent], Awaitable[int]],
    *,
    detail: str = "",
) -> DeliveryOut:
    before = await _delivery(caller, delivery_id)
    objects = (
        ("delivery", str(before.id)),
        (before.payload.kind, before.payload.identifier),
        *objects_of(before.target),
    )
    event = caller.event(
        EventAction.UPDATE,
        f"delivery.{action}",
        *objects,
        event=EventId.APPLICATION_ACTIVITY,
        detail=detail,
    )
    if not await change(DeliverySearch(facilities=caller.principal.facilities), event):
        raise ConflictError(
            f"{action} failed: the delivery is {before.state}. Get it and decide again"
        )
    return _out(caller, await _delivery(caller, delivery_id))


def _out(caller: Caller, delivery: Delivery) -> DeliveryOut:
    return delivery_out(delivery, caller.services.queues.kinds[delivery.payload.kind])


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


ROUTES: Final = (
    Route("GET", "/deliveries", list_deliveries, PATIENT_DATA_READERS, BY_FACILITY, "deliveries"),
    Route(
        "POST",
        "/deliveries/bulk-actions",
        change_deliveries,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "GET",
        "/deliveries/{delivery_id}",
        get_delivery,
        PATIENT_DATA_READERS,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "GET",
        "/deliveries/{delivery_id}/attempts",
        list_attempts,
        PATIENT_DATA_READERS,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "POST",
        "/deliveries/{delivery_id}/park",
        park_delivery,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "POST",
        "/deliveries/{delivery_id}/resend",
        resend_delivery,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "POST",
        "/deliveries/{delivery_id}/retry",
        retry_delivery,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "POST",
        "/deliveries/{delivery_id}/skip",
        skip_delivery,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "POST",
        "/studies/{study_uid}/send",
        send_study,
        PATIENT_DATA_READERS,
        BY_FACILITY,
        "imaging",
    ),
)
