"""Ports of deliveries and rules."""

from collections.abc import Collection, Sequence
from typing import Protocol

from swallowtail.cloud.model.audit import (
    AuditEvent,
)
from swallowtail.cloud.model.delivery import (
    Claim,
    Delivery,
    DeliveryAttempt,
    DeliverySearch,
    DeliveryState,
    DestinationState,
    Due,
    Lease,
    NewDelivery,
    Routed,
    Routing,
    Rule,
    Settlement,
    Target,
)
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import (
    Tenant,
)


class Deliveries(Protocol):
    """The queues.

    Claims and settlements are internal and span tenants; every other change is a person's or a
    rule's.
    """

    async def add(
        self,
        tenant: Tenant,
        deliveries: Sequence[NewDelivery],
        *,
        now: float,
        event: AuditEvent | None = None,
    ) -> int:
        """Queue deliveries at the end of their lanes; return how many were new.

        The same (destination, kind, reference, cause) again is no error. NotFoundError: the row of
        a payload does not exist. While the destination's own lane ('') has something open,
        deliveries for a patient's lane are added to it, so that they do not overtake earlier ones
        after the number of connections grew. `event`: of a person's request.
        """

    async def claim(
        self,
        tenant: Tenant,
        target: Target,
        limit: int,
        *,
        now: float,
        until: float,
        after: Lease | None = None,
    ) -> Claim:
        """Lease the heads of at most `limit` lanes of an unpaused destination, oldest first.

        They must be due and not leased.

        The head is the first open delivery by priority and place; a lane of which something is
        leased has none. An expired lease is claimable again, with a new token. While the breaker
        is open nothing is leased before `retry_at`, then one: half open. `after`: a lease that the
        caller holds; the next delivery of its lane is given instead, if the breaker is closed. It
        must not be complete at the destination before the first is settled.
        """

    async def extend(self, leases: Sequence[Lease], *, until: float) -> frozenset[int]:
        """Extend the leases whose token still holds; return the ids of those deliveries."""

    async def settle(
        self, settlements: Sequence[Settlement], destination: DestinationState | None, *, now: float
    ) -> frozenset[int]:
        """Settle leases and update the destination's breaker in one transaction. Audited.

        An `attempt` becomes the newest of the delivery's attempts, of which the last
        MAX_ATTEMPTS are kept.

        A dead letter, or a delivery that stops its lane, raises its alarm in the same transaction.
        A token holds until another claim or a person takes the delivery. A settlement whose token
        does not changes nothing. Returns the ids of those that were settled.
        """

    async def due(self, tenant: Tenant, link: str) -> tuple[Due, ...]:
        """Return the unpaused destinations of a Link that have something to claim, now or later."""

    async def act(
        self,
        tenant: Tenant,
        search: DeliverySearch,
        deliveries: Collection[int],
        state: DeliveryState,
        *,
        in_place: bool = False, reason: str, now: float, event: AuditEvent,
    ) -> int:  # fmt: skip
        """Park, skip or resend deliveries; return how many changed.

        A resend (WAITING) goes to the end of its lane; only a stopped delivery keeps its place, so
        that what waits behind it does not overtake it. `refusals` and `cuts` begin at 0 again,
        `tries` go on. A delivery that then waits for a person, or no longer does, raises or clears
        its alarm. WAITING `in_place`: what is not done keeps its place and its counters and is due
        at once. DEAD_LETTER: the destination is no longer configured.

        Either the named `deliveries` among those that match `search`, or, if none is named, the
        first 10,000 that match. A leased one cannot be changed: ConflictError if it was named.
        """

    async def deliveries(
        self, tenant: Tenant, search: DeliverySearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Delivery]:
        """List deliveries, the newest first."""

    async def delivery(self, tenant: Tenant, delivery: int) -> Delivery:
        """Return one."""

    async def attempts(
        self, tenant: Tenant, delivery: int, page: PageRequest = FIRST_PAGE
    ) -> Page[DeliveryAttempt]:
        """List the stored attempts of a delivery, newest first."""

    async def destinations(
        self,
        tenant: Tenant,
        targets: Collection[Target] | None,
        *,
        now: float,
        facilities: frozenset[str] | None = None,
    ) -> dict[Target, DestinationState]:
        """Return the state and counts of these; one without a row is as new.

        None: of all that ever had a delivery.

        `facilities`: count only deliveries of these facilities' instances.
        """

    async def pause(
        self, tenant: Tenant, target: Target, *, paused: bool, now: float, event: AuditEvent
    ) -> DestinationState:
        """Pause or resume a destination; resuming closes the breaker."""


class Rules(Protocol):
    """The rules of a tenant, and the instances that they have not been evaluated on."""

    async def put(self, tenant: Tenant, rule: Rule, *, now: float, event: AuditEvent) -> None:
        """Create or change one; ConflictError when another one has the name."""

    async def remove(self, tenant: Tenant, rule: str, *, now: float, event: AuditEvent) -> None:
        """Remove one; what it queued stays."""

    async def order(
        self, tenant: Tenant, rules: Sequence[str], *, now: float, event: AuditEvent
    ) -> None:
        """Set the positions 1, 2, … in this order of ids.

        ConflictError when these are not all of them, each once.
        """

    async def rules(self, tenant: Tenant) -> tuple[Rule, ...]:
        """Return all, by position and name."""

    async def unrouted(self, limit: int, *, now: float) -> tuple[Routing, ...]:
        """Return indexed instances of all tenants that the rules are due on, oldest first.

        An instance is added when it is indexed for the first time, if it is visible.
        """

    async def note_ended(
        self, tenant: Tenant, link: str, associations: Collection[bytes], *, now: float
    ) -> None:
        """Note the end of associations; the latest 10,000 of a Link are stored."""

    async def stored(
        self, tenant: Tenant, study: str, page: PageRequest = FIRST_PAGE
    ) -> Page[Routing]:
        """Return the visible indexed instances of a study as input of the rules, by arrival."""

    async def routed(
        self,
        tenant: Tenant,
        routings: Sequence[Routed],
        deliveries: Sequence[NewDelivery],
        *,
        now: float,
    ) -> int:
        """Queue deliveries, put studies into archives and note the evaluation in one transaction.

        Returns how many deliveries were new. A study that is in an archive stays there.
        """
