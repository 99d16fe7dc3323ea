"""Use cases of deliveries: list, retry, park, skip, resend, and send a stored study."""

import enum
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from swallowtail.cloud.dispatch.destination_administration import (
    DestinationAdministration,
    objects_of,
    target_of,
)
from swallowtail.cloud.dispatch.payloads.conditions import Conditions, named_conditions
from swallowtail.cloud.dispatch.payloads.kind import PayloadKind
from swallowtail.cloud.dispatch.queues import Queues
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.delivery import (
    Delivery,
    DeliveryAttempt,
    DeliverySearch,
    DeliveryState,
    Target,
)
from swallowtail.cloud.model.environment import Randomness
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.paging import Page, PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.ports.links import Links
from swallowtail.cloud.model.use_case_errors import InvalidValueError
from swallowtail.cloud.model.visibility import visible_link


class BulkActionType(enum.StrEnum):
    """An action on many deliveries."""

    PARK = "park"
    SKIP = "skip"
    RESEND = "resend"


class ListedDelivery(NamedTuple):
    """A delivery and the kind of its payload."""

    delivery: Delivery
    kind: PayloadKind


class ListedAttempts(NamedTuple):
    """Attempts at a delivery and the kind of its payload."""

    attempts: Page[DeliveryAttempt]
    kind: PayloadKind


class Selected(NamedTuple):
    """The deliveries that a request names."""

    destination: str | None = None
    link: str | None = None
    states: frozenset[DeliveryState] = frozenset()


class DeliveryAdministration:
    """Lists and changes deliveries of the facilities that the caller may see."""

    def __init__(
        self,
        queues: Queues,
        destinations: DestinationAdministration,
        links: Links,
        *,
        random: Randomness,
    ) -> None:
        self._queues, self._destinations, self._links = queues, destinations, links
        self._random = random

    async def deliveries(
        self, caller: Caller, selected: Selected, conditions: Conditions, page: PageRequest
    ) -> Page[ListedDelivery]:
        """Return the deliveries that match, newest first."""
        search = await self._search(caller, selected, conditions)
        found = await self._queues.deliveries(caller.tenant, search, page)
        return Page(tuple(self._listed(one) for one in found.items), found.next)

    async def delivery(self, caller: Caller, delivery: int) -> ListedDelivery:
        """Return one delivery."""
        return self._listed(await self._one(caller, delivery))

    async def attempts(self, caller: Caller, delivery: int, page: PageRequest) -> ListedAttempts:
        """Return the last attempts at a delivery, newest first."""
        listed, facilities = await self.delivery(caller, delivery), caller.principal.facilities
        found = await self._queues.attempts(caller.tenant, delivery, page, facilities=facilities)
        return ListedAttempts(found, listed.kind)

    async def skip(self, caller: Caller, delivery: int, reason: str) -> ListedDelivery:
        """Skip a delivery; raises ConflictError where its state does not allow that."""

        async def skip(search: DeliverySearch, event: AuditEvent) -> int:
            return await self._queues.skip(
                caller.tenant, search, [delivery], reason=reason, event=event
            )

        return await self._change(caller, delivery, "skip", skip, detail=reason)

    async def park(self, caller: Caller, delivery: int, reason: str) -> ListedDelivery:
        """Park a delivery; raises ConflictError where its state does not allow that."""

        async def park(search: DeliverySearch, event: AuditEvent) -> int:
            return await self._queues.park(
                caller.tenant, search, [delivery], reason=reason, event=event
            )

        return await self._change(caller, delivery, "park", park, detail=reason)

    async def resend(self, caller: Caller, delivery: int) -> ListedDelivery:
        """Resend a delivery; raises ConflictError where its state does not allow that."""

        async def resend(search: DeliverySearch, event: AuditEvent) -> int:
            return await self._queues.resend(caller.tenant, search, [delivery], event=event)

        return await self._change(caller, delivery, "resend", resend)

    async def retry(self, caller: Caller, delivery: int) -> ListedDelivery:
        """Retry a delivery; raises ConflictError where its state does not allow that."""

        async def retry(search: DeliverySearch, event: AuditEvent) -> int:
            return await self._queues.retry(
                caller.tenant, delivery, facilities=search.facilities, event=event
            )

        return await self._change(caller, delivery, "retry", retry)

    async def change_many(
        self,
        caller: Caller,
        action: BulkActionType,
        selected: Selected,
        *,
        payload: Mapping[str, str],
        named: Collection[int],
        reason: str,
    ) -> int:
        """Park, skip or resend the deliveries that match, and return their number."""
        if action is BulkActionType.SKIP and not reason:
            message = "a skip requires a reason, which is kept with each delivery"
            raise InvalidValueError("$.reason", message)
        if not (selected.destination or selected.link or payload or named):
            message = "give a destination, link, payload or deliveries"
            raise InvalidValueError("$.destination", message)
        conditions = named_conditions(self._queues.kinds, payload, field="$.payload")
        search = await self._search(caller, selected, conditions)
        objects = (("destination", search.destination), ("link", search.link), *payload.items())
        event = caller.event(
            EventAction.UPDATE,
            f"deliveries.{action}",
            *(pair for pair in objects if pair[1]),
            *(("delivery", str(one)) for one in named),
            event=EventId.APPLICATION_ACTIVITY,
            detail=reason,
        )
        tenant, queues = caller.tenant, self._queues
        match action:
            case BulkActionType.PARK:
                return await queues.park(tenant, search, named, reason=reason, event=event)
            case BulkActionType.SKIP:
                return await queues.skip(tenant, search, named, reason=reason, event=event)
            case BulkActionType.RESEND:
                return await queues.resend(tenant, search, named, event=event)

    async def send_study(
        self,
        caller: Caller,
        study: str,
        destinations: Sequence[str],
        *,
        sop_instances: Sequence[str],
        request: str | None,
        priority: int,
    ) -> tuple[str, int]:
        """Queue what is stored of a study; returns the request and the number of new deliveries."""
        targets = [await self._target(caller, index, one) for index, one in enumerate(destinations)]
        request, queued = request or new_id(self._random), 0
        for target in dict.fromkeys(targets):
            event = caller.event(
                EventAction.EXECUTE,
                "study.send",
                ("study", study),
                *objects_of(target),
                event=EventId.BEGIN_TRANSFERRING,
            )
            queued += await self._queues.send(
                caller.tenant,
                study,
                target,
                sop_instances=sop_instances,
                request=request,
                priority=priority,
                facilities=caller.principal.facilities,
                event=event,
            )
        return request, queued

    async def _target(self, caller: Caller, index: int, destination: str) -> Target:
        try:
            return (await self._destinations.configured(caller, destination)).target
        except NotFoundError as error:
            raise InvalidValueError(f"$.destinations[{index}]", str(error)) from error

    async def _search(
        self, caller: Caller, selected: Selected, conditions: Conditions
    ) -> DeliverySearch:
        """Create a search within the caller's facilities.

        The destination may be one that is no longer configured.
        """
        destination, link, states = selected
        target = Target(link=link or "", destination="")
        if destination is not None:
            target = target_of(destination)
        if target.link:
            await visible_link(self._links, caller, target.link)
        if link is not None and link != target.link:
            message = "is not the Link of the destination; name one of the two"
            raise InvalidValueError("link", message)
        return DeliverySearch(
            link=target.link,
            destination=target.destination,
            states=states,
            **conditions,
            facilities=caller.principal.facilities,
        )

    async def _one(self, caller: Caller, delivery: int) -> Delivery:
        return await self._queues.delivery(
            caller.tenant, delivery, facilities=caller.principal.facilities
        )

    def _listed(self, delivery: Delivery) -> ListedDelivery:
        return ListedDelivery(delivery, self._queues.kinds[delivery.payload.kind])

    async def _change(
        self,
        caller: Caller,
        delivery: int,
        action: str,
        change: Callable[[DeliverySearch, AuditEvent], Awaitable[int]],
        *,
        detail: str = "",
    ) -> ListedDelivery:
        before = await self._one(caller, delivery)
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
        return await self.delivery(caller, delivery)
