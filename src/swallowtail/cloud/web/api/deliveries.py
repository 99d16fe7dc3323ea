"""Deliveries.

Looked at one by one or by what they have in common, set aside, given up, sent again, and studies
sent on request.
"""

import enum
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from fastapi import Query
from pydantic import Field, StringConstraints

from swallowtail.calls.deliver import About, DeliveryPhase
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.delivery import (
    Delivery,
    DeliveryAttempt,
    DeliverySearch,
    DeliveryState,
    Target,
)
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.visibility import visible_link
from swallowtail.cloud.web.access import Caller, InOrganisation
from swallowtail.cloud.web.api.destinations import destination_of, id_of, objects_of, target_of
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
from swallowtail.cloud.web.api.studies import UidKey
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.problems import invalid
from swallowtail.cloud.web.roles import PATIENT_DATA_READERS, QUEUE_MANAGERS
from swallowtail.cloud.web.route import BY_FACILITY, Route

Reason = Annotated[str, StringConstraints(max_length=400, strip_whitespace=True)]
GivenReason = Annotated[str, StringConstraints(min_length=1, max_length=400, strip_whitespace=True)]
DestinationKey = Annotated[str, StringConstraints(min_length=3, max_length=128)]
MAX_NAMED = 1000
MAX_PRIORITY = 1000


class DeliveryOut(Out):
    """One instance on its way to one destination, with the outcome of its last attempt.

    `tries` are all attempts, `refusals` those that the destination answered about this instance,
    which are what its cap counts. `status` is the DIMSE status in hex. `about` and `phase` say what
    the last failure was about and how far it had come.
    """

    id: int
    destination: str
    link: str
    instance: int
    facility: str
    study: str
    sop_instance: str
    sop_class: str
    transfer_syntax: str
    priority: int
    cause: str
    state: DeliveryState
    created: float
    changed: float
    next_at: float
    """Not tried again before; 0: as soon as it is its turn."""
    tries: int
    refusals: int
    status: str | None
    about: About | None
    phase: DeliveryPhase | None
    detail: str
    sent_syntax: str


class AttemptOut(Out):
    """One attempt to deliver, and how it ended.

    `state` is where it left the delivery, the rest as with a delivery.

    `number` is the delivery's `tries` then; they go on over a resend. A missing one was not begun,
    because something before it failed or the Link was away, or the Cloud was killed before it could
    keep the outcome. `epoch` is the Link's session, `configuration` the version of the Link's
    configuration that held.
    """

    number: int
    began: float
    ended: float
    state: DeliveryState
    status: str | None
    about: About | None
    phase: DeliveryPhase | None
    detail: str
    sent_syntax: str
    """The transfer syntax that was sent, or would have been."""
    epoch: int
    configuration: int
    connection: int
    """Which of the destination's connections, from 0."""


class Skip(Body):
    """Why a delivery is given up; it is kept with it."""

    reason: GivenReason


class Park(Body):
    """Why a delivery is set aside."""

    reason: Reason = ""


class Act(enum.StrEnum):
    """What can be done with many deliveries at once."""

    PARK = "park"
    SKIP = "skip"
    RESEND = "resend"


class ActOnMany(Body):
    """What to do with which deliveries.

    All that match every given key, or of these the ones that `deliveries` names by id.

    At least one of `destination`, `link`, `study` and `deliveries` is given. `skip` needs a reason.
    """

    act: Act
    destination: DestinationKey | None = None
    link: str | None = None
    study: UidText | None = None
    states: tuple[DeliveryState, ...] = ()
    deliveries: Annotated[
        tuple[Annotated[int, Field(ge=1, le=MAX_NUMBER)], ...], Field(max_length=MAX_NAMED)
    ] = ()
    reason: Reason = ""


class ActedOut(Out):
    """How many deliveries changed; at most 10,000 do at once, so ask again until none does."""

    changed: int


class Send(Body):
    """Where to send a stored study, or of it the named instances.

    The same `request` again queues nothing twice, so that it can be repeated after a failure; left
    out, it is a new one.
    """

    destinations: Annotated[list[DestinationKey], Field(min_length=1, max_length=16)]
    sop_instances: Annotated[tuple[UidText, ...], Field(max_length=MAX_NAMED)] = ()
    priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = 0
    request: Name | None = None


class SentOut(Out):
    """How many deliveries are new; `request` is the one to repeat."""

    request: str
    queued: int


async def list_deliveries(
    caller: InOrganisation,
    page: Paging,
    *,
    destination: Annotated[str | None, Query(max_length=128)] = None,
    link: str | None = None,
    state: Annotated[list[DeliveryState] | None, Query()] = None,
    study: UidKey = None,
    sop_instance: UidKey = None,
) -> PageOut[DeliveryOut]:
    """List deliveries, the newest first; several `state` mean any of them."""
    search = await _search(
        caller,
        destination,
        link,
        states=frozenset(state or ()),
        study=study or "",
        sop_instance=sop_instance or "",
    )
    return page_out(
        await caller.services.queues.deliveries(caller.tenant, search, page), delivery_out
    )


async def get_delivery(caller: InOrganisation, delivery_id: RowId) -> DeliveryOut:
    """Give one delivery with the outcome of its last attempt."""
    return delivery_out(await _delivery(caller, delivery_id))


async def list_attempts(
    caller: InOrganisation, delivery_id: RowId, page: Paging
) -> PageOut[AttemptOut]:
    """List the attempts at a delivery, the newest first; the last 20 are kept.

    What people did with it is in the audit log.
    """
    attempts = await caller.services.queues.attempts(
        caller.tenant, delivery_id, page, facilities=caller.principal.facilities
    )
    return page_out(attempts, attempt_out)


async def skip_delivery(caller: InOrganisation, delivery_id: RowId, body: Skip) -> DeliveryOut:
    """Give a delivery up, with a reason; its lane goes on."""

    async def skip(search: DeliverySearch, event: AuditEvent) -> int:
        return await caller.services.queues.skip(
            caller.tenant, search, [delivery_id], reason=body.reason, event=event
        )

    return await _on_one(caller, delivery_id, "skip", skip, detail=body.reason)


async def park_delivery(caller: InOrganisation, delivery_id: RowId, body: Park) -> DeliveryOut:
    """Set a delivery aside until a person acts; its lane goes on."""

    async def park(search: DeliverySearch, event: AuditEvent) -> int:
        return await caller.services.queues.park(
            caller.tenant, search, [delivery_id], reason=body.reason, event=event
        )

    return await _on_one(caller, delivery_id, "park", park, detail=body.reason)


async def resend_delivery(caller: InOrganisation, delivery_id: RowId) -> DeliveryOut:
    """Queue a delivery again, whatever became of it, with its refusals counted from zero.

    It goes to the end of its lane, so the order changes: what was queued since is sent before it.
    One that has stopped its lane keeps its place. To send a dead letter in its old place, retry it.
    """

    async def resend(search: DeliverySearch, event: AuditEvent) -> int:
        return await caller.services.queues.resend(
            caller.tenant, search, [delivery_id], event=event
        )

    return await _on_one(caller, delivery_id, "resend", resend)


async def retry_delivery(caller: InOrganisation, delivery_id: RowId) -> DeliveryOut:
    """Try a delivery now, in its old place, instead of when its waiting ends.

    Also one that is stopped, parked or dead.

    Its refusals count on: when the destination refuses it again at the cap, it stops or is dead
    again after that one attempt.
    """

    async def retry(search: DeliverySearch, event: AuditEvent) -> int:
        return await caller.services.queues.retry(
            caller.tenant, delivery_id, facilities=search.facilities, event=event
        )

    return await _on_one(caller, delivery_id, "retry", retry)


async def act_on_deliveries(caller: InOrganisation, body: ActOnMany) -> ActedOut:
    """Park, skip or resend many deliveries: all dead letters of a destination, for example.

    What is under way is left out.
    """
    if body.act is Act.SKIP and not body.reason:
        raise invalid("$.reason", "say why these are given up; it is kept with each")
    if not (body.destination or body.link or body.study or body.deliveries):
        raise invalid(
            "$.destination", "say which are meant, by destination, link, study or deliveries"
        )
    search = await _search(
        caller, body.destination, body.link, states=frozenset(body.states), study=body.study or ""
    )
    objects = (("destination", search.destination), ("link", search.link), ("study", search.study))
    event = caller.event(
        EventAction.UPDATE,
        f"deliveries.{body.act}",
        *(pair for pair in objects if pair[1]),
        *(("delivery", str(one)) for one in body.deliveries),
        event=EventId.APPLICATION_ACTIVITY,
        detail=body.reason,
    )
    queues, named = caller.services.queues, body.deliveries
    match body.act:
        case Act.PARK:
            changed = await queues.park(
                caller.tenant, search, named, reason=body.reason, event=event
            )
        case Act.SKIP:
            changed = await queues.skip(
                caller.tenant, search, named, reason=body.reason, event=event
            )
        case Act.RESEND:
            changed = await queues.resend(caller.tenant, search, named, event=event)
    return ActedOut(changed=changed)


async def send_study(caller: InOrganisation, study_uid: UidPath, body: Send) -> SentOut:
    """Send what is stored of a study to destinations, whatever the rules say."""
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
        return (await destination_of(caller, destination_id)).target
    except NotFoundError as error:
        raise invalid(f"$.destinations[{index}]", str(error)) from error


async def _search(
    caller: Caller,
    destination: str | None,
    link: str | None,
    *,
    states: frozenset[DeliveryState] = frozenset(),
    study: str = "",
    sop_instance: str = "",
) -> DeliverySearch:
    """Make a search within the caller's facilities.

    A destination may be one that is configured no more.
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
        study=study,
        sop_instance=sop_instance,
        facilities=caller.principal.facilities,
    )


async def _delivery(caller: Caller, delivery_id: int) -> Delivery:
    return await caller.services.queues.delivery(
        caller.tenant, delivery_id, facilities=caller.principal.facilities
    )


async def _on_one(
    caller: Caller,
    delivery_id: int,
    act: str,
    do: Callable[[DeliverySearch, AuditEvent], Awaitable[int]],
    *,
    detail: str = "",
) -> DeliveryOut:
    before = await _delivery(caller, delivery_id)
    objects = (
        ("delivery", str(before.id)),
        ("instance", before.sop_instance),
        *objects_of(before.target),
    )
    event = caller.event(
        EventAction.UPDATE,
        f"delivery.{act}",
        *objects,
        event=EventId.APPLICATION_ACTIVITY,
        detail=detail,
    )
    if not await do(DeliverySearch(facilities=caller.principal.facilities), event):
        raise ConflictError(
            f"a delivery that is {before.state} cannot be changed by {act}; look at its state and"
            " decide again"
        )
    return delivery_out(await _delivery(caller, delivery_id))


def delivery_out(delivery: Delivery) -> DeliveryOut:
    """Give a delivery as the client gets it."""
    given = {
        name: getattr(delivery, name)
        for name in DeliveryOut.model_fields
        if hasattr(delivery, name)
    }
    status = _hex(delivery.status)
    return DeliveryOut(
        **given
        | {
            "destination": id_of(delivery.target),
            "link": delivery.target.link,
            "status": status,
        }
    )


def attempt_out(attempt: DeliveryAttempt) -> AttemptOut:
    """Give an attempt as the client gets it."""
    return AttemptOut(**msgspec.structs.asdict(attempt) | {"status": _hex(attempt.status)})


def _hex(status: int | None) -> str | None:
    return None if status is None else f"{status:04X}"


ROUTES: Final = (
    Route("GET", "/deliveries", list_deliveries, PATIENT_DATA_READERS, BY_FACILITY, "deliveries"),
    Route("POST", "/deliveries/act", act_on_deliveries, QUEUE_MANAGERS, BY_FACILITY, "deliveries"),
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
