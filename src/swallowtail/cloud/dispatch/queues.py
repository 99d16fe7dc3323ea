"""Actions of people on deliveries and destinations.

List, park, skip, resend, retry, send what is stored, pause, resume. Each action wakes the queues
that it concerns. The caller checks who may do it; `facilities` in a search, and as an argument,
restricts to what the caller may see.
"""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from swallowtail.calls.config import Destination
from swallowtail.cloud.dispatch.payloads.kind import Kinds
from swallowtail.cloud.dispatch.payloads.table import KINDS
from swallowtail.cloud.dispatch.rule_matching import lane_of
from swallowtail.cloud.dispatch.runner import topic
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.delivery import (
    INSTANCE,
    BreakerState,
    Delivery,
    DeliveryAttempt,
    DeliverySearch,
    DeliveryState,
    DestinationState,
    NewDelivery,
    Target,
)
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.imaging import InstanceSearch, Study, StudySearch
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest, walk
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.model.ports.deliveries import Deliveries
from swallowtail.cloud.model.ports.instances import Instances
from swallowtail.cloud.model.ports.links import Links
from swallowtail.cloud.model.tenancy import Tenant

AT_ONCE: Final = 500
"""Deliveries that one transaction adds: 30 ms, in which no store is committed.

What a failure leaves out, the same request adds.
"""


@dataclass(frozen=True, slots=True)
class DestinationView:
    """A destination: as configured, None where it is so no more, and as it is."""

    target: Target
    configured: Destination | None
    state: DestinationState


class Queues:
    """A tenant's deliveries and destinations."""

    def __init__(
        self,
        *,
        deliveries: Deliveries,
        instances: Instances,
        links: Links,
        sites: ConfigurationCache,
        bus: Bus,
        clock: Clock,
        kinds: Kinds = KINDS,
    ) -> None:
        self.kinds = kinds
        self._deliveries, self._instances, self._links = deliveries, instances, links
        self._sites, self._bus, self._clock = sites, bus, clock

    async def deliveries(
        self, tenant: Tenant, search: DeliverySearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Delivery]:
        """List deliveries, the newest first."""
        return await self._deliveries.deliveries(tenant, search, page)

    async def delivery(
        self, tenant: Tenant, delivery: int, *, facilities: frozenset[str] | None = None
    ) -> Delivery:
        """Return one whose instance and destination are in these facilities.

        Raises NotFoundError.
        """
        found = await self._deliveries.delivery(tenant, delivery)
        if facilities is None:
            return found
        if found.payload.facility in facilities:
            with contextlib.suppress(NotFoundError):  # a Link that was removed
                if (await self._links.link(tenant, found.target.link)).facility in facilities:
                    return found
        raise NotFoundError("there is no such delivery")

    async def attempts(
        self,
        tenant: Tenant,
        delivery: int,
        page: PageRequest = FIRST_PAGE,
        *,
        facilities: frozenset[str] | None = None,
    ) -> Page[DeliveryAttempt]:
        """List the last attempts at a delivery, the newest first."""
        await self.delivery(tenant, delivery, facilities=facilities)
        return await self._deliveries.attempts(tenant, delivery, page)

    async def park(
        self,
        tenant: Tenant,
        search: DeliverySearch,
        deliveries: Collection[int] = (),
        *,
        reason: str,
        event: AuditEvent,
    ) -> int:
        """Park deliveries until a person acts; return how many. Their lanes continue.

        `deliveries` are ids among those that match `search`; without ids the first 10,000 that
        match and can be parked. NotFoundError: one of the ids does not match. ConflictError: one of
        the ids is under way.
        """
        return await self._act(
            tenant, search, deliveries, DeliveryState.PARKED, reason=reason, event=event
        )

    async def skip(
        self,
        tenant: Tenant,
        search: DeliverySearch,
        deliveries: Collection[int] = (),
        *,
        reason: str,
        event: AuditEvent,
    ) -> int:
        """Skip deliveries, with a reason; return how many (as `park`)."""
        return await self._act(
            tenant, search, deliveries, DeliveryState.SKIPPED, reason=reason, event=event
        )

    async def resend(
        self,
        tenant: Tenant,
        search: DeliverySearch,
        deliveries: Collection[int] = (),
        *,
        event: AuditEvent,
    ) -> int:
        """Queue deliveries again, whatever became of them; returns how many (as `park`).

        They go to the end of their lanes, after what was queued since; one that has stopped its
        lane keeps its place.
        """
        return await self._act(tenant, search, deliveries, DeliveryState.PENDING, event=event)

    async def retry(
        self,
        tenant: Tenant,
        delivery: int,
        *,
        facilities: frozenset[str] | None = None,
        event: AuditEvent,
    ) -> int:
        """Make a delivery due now, in its place, and close the breaker of its destination.

        0: it is done. ConflictError: it is under way, or its destination is paused.
        """
        found = await self.delivery(tenant, delivery, facilities=facilities)
        (state,) = (await self.states(tenant, [found.target], facilities=facilities)).values()
        if state.paused:
            raise ConflictError(f"the destination {found.target.destination} is paused; resume it")
        search = DeliverySearch(link=found.target.link, facilities=facilities)
        count = await self._act(
            tenant, search, [delivery], DeliveryState.PENDING, in_place=True, event=event
        )
        if count and state.breaker is not BreakerState.CLOSED:
            await self.resume(tenant, found.target, event=event)
        return count

    async def send(
        self,
        tenant: Tenant,
        study: str,
        target: Target,
        *,
        sop_instances: Collection[str] = (),
        request: str,
        priority: int = 0,
        facilities: frozenset[str] | None = None,
        event: AuditEvent,
    ) -> int:
        """Queue what is stored of a study, or of it those instances, for a destination.

        Gives how many were new.

        `event.actor` requests it; the same `request` of the same actor queues nothing twice.
        NotFoundError: there is no such destination, study or instance.
        """
        configured = (await self._sites.sites(tenant, [target.link])).destinations.get(target)
        if configured is None:
            raise NotFoundError("there is no such destination in the Link's configuration")
        search_of_study = StudySearch(uids=(study,), facilities=facilities)
        places = [
            one
            async for one in walk(
                lambda page: self._instances.studies(tenant, search_of_study, page)
            )
        ]
        search = InstanceSearch(
            study=study, sop_instances=tuple(sop_instances), facilities=facilities
        )
        found = [
            one async for one in walk(lambda page: self._instances.instances(tenant, search, page))
        ]
        named = {one.identity.sop_instance for one in found}
        if not places or not found or not named.issuperset(sop_instances):
            raise NotFoundError("there is no such study or instance")
        cause = f"person:{event.actor}/{request}"
        lanes = {one.facility: lane_of(configured, patient_of(one)) for one in places}
        wanted = [
            NewDelivery(
                target=target,
                kind=INSTANCE,
                reference=one.id,
                lane=lanes.get(one.origin.facility, ""),
                priority=priority,
                cause=cause,
            )
            for one in {
                one.identity: one for one in reversed(found)
            }.values()  # two facilities may hold the same
        ][::-1]
        count = 0
        for start in range(0, len(wanted), AT_ONCE):
            part, asked = wanted[start : start + AT_ONCE], None if start else event
            count += await self._deliveries.add(tenant, part, now=self._clock(), event=asked)
        self._bus.publish(topic(target.link))
        return count

    async def destination(self, tenant: Tenant, target: Target) -> DestinationView:
        """Return one; NotFoundError when it neither is configured nor ever was used."""
        configured = (await self._sites.sites(tenant, [target.link])).destinations.get(target)
        if configured is None and target not in await self._deliveries.destinations(
            tenant, None, now=self._clock()
        ):
            raise NotFoundError("there is no such destination")
        state = (await self._deliveries.destinations(tenant, [target], now=self._clock()))[target]
        return DestinationView(target, configured, state)

    async def states(
        self,
        tenant: Tenant,
        targets: Collection[Target],
        *,
        facilities: frozenset[str] | None = None,
    ) -> dict[Target, DestinationState]:
        """Return the states of these destinations, with the counts of `facilities`."""
        now = self._clock()
        return await self._deliveries.destinations(tenant, targets, now=now, facilities=facilities)

    async def pause(self, tenant: Tenant, target: Target, *, event: AuditEvent) -> DestinationView:
        """Send nothing more there until it is resumed; what is under way ends."""
        return await self._pause(tenant, target, event, paused=True)

    async def resume(self, tenant: Tenant, target: Target, *, event: AuditEvent) -> DestinationView:
        """Send again; a destination that was failing is tried at once."""
        return await self._pause(tenant, target, event, paused=False)

    async def _pause(
        self, tenant: Tenant, target: Target, event: AuditEvent, *, paused: bool
    ) -> DestinationView:
        view = await self.destination(tenant, target)
        state = await self._deliveries.pause(
            tenant, target, paused=paused, now=self._clock(), event=event
        )
        self._bus.publish(topic(target.link))
        return DestinationView(target, view.configured, state)

    async def _act(
        self,
        tenant: Tenant,
        search: DeliverySearch,
        named: Collection[int],
        state: DeliveryState,
        *,
        in_place: bool = False,
        reason: str = "",
        event: AuditEvent,
    ) -> int:
        now = self._clock()
        count = await self._deliveries.act(
            tenant, search, named, state, in_place=in_place, reason=reason, now=now, event=event
        )
        if count:
            await self._wake(tenant, search.link)
        return count

    async def _wake(self, tenant: Tenant, link: str) -> None:
        """Wake the queues of a Link, or all: the next delivery of a lane may be due now."""
        ids = [link]
        if not link:  # '' is the Cloud's own route
            ids += [one.id async for one in walk(lambda page: self._links.links(tenant, page))]
        for one in ids:
            self._bus.publish(topic(one))


def patient_of(study: Study) -> str:
    """Return the key of the patient's lane, empty when the patient is not known."""
    return f"{study.issuer}\\{study.patient_id}" if study.patient_id else ""
