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

    Claims and settlements are for the machinery and span tenants; every other change is a person's
    or a rule's.
    """

    async def add(
        self,
        tenant: Tenant,
        deliveries: Sequence[NewDelivery],
        *,
        now: float,
        event: AuditEvent | None = None,
    ) -> int:
        """Queue them at the end of their lanes; gives how many were new.

        The same (destination, instance, cause) again is no error.

        While the destination's own lane ('') has something open, what is meant for a patient's lane
        goes there too: the destination got more connections a while ago, and nothing may overtake
        what waits since before. `event`: a person's desired configuration is audited with it, a
        rule's is not.
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
        """Lease the due heads of at most `limit` free lanes of a destination, oldest first.

        The head is the first open delivery by priority and place; a lane of which something is
        leased has none. A lapsed lease is claimable again, with a new token. While the breaker is
        open nothing is given before `retry_at`, then one: half open. `after`: a lease that the
        caller holds; the next delivery of its lane is given instead, if the breaker is closed. It
        must not be complete at the destination before the first is settled.
        """

    async def extend(self, leases: Sequence[Lease], *, until: float) -> frozenset[int]:
        """Keep the leases whose token still holds; gives the ids of those deliveries."""

    async def settle(
        self, settlements: Sequence[Settlement], destination: DestinationState | None, *, now: float
    ) -> frozenset[int]:
        """Keep what became of leases, and the destination's breaker as planned, in one transaction.

        Audited.

        What was `tried` becomes the newest of the delivery's attempts, of which the last
        MAX_ATTEMPTS are kept.

        A dead letter, or a delivery that stops its lane, raises its alarm in the same transaction.
        A token holds until another claim or a person takes the delivery. A settlement whose token
        does not changes nothing; gives the ids of those that were kept.
        """

    async def due(self, tenant: Tenant, link: str) -> tuple[Due, ...]:
        """Return the unpaused destinations of a Link with work, now or later (machinery)."""

    async def act(
        self,
        tenant: Tenant,
        search: DeliverySearch,
        deliveries: Collection[int],
        state: DeliveryState,
        *,
        in_place: bool = False, reason: str, now: float, event: AuditEvent,
    ) -> int:  # fmt: skip
        """Return a person parks, skips or resends; returns how many changed.

        A resend (WAITING) goes to the end of its lane; only a stopped delivery keeps its place, so
        that what waits behind it does not overtake it. `refusals` and `cuts` begin at 0 again,
        `tries` go on. What then waits for a person, or no longer does, raises or clears its alarm.
        WAITING `in_place`: what is not done keeps its place and its counters and is due at once.
        The machinery makes dead letters (Ended) of what waits for a destination that is configured
        no more.

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
        """List what is kept of a delivery's attempts, the newest first.

        None of one that does not exist.
        """

    async def destinations(
        self,
        tenant: Tenant,
        targets: Collection[Target] | None,
        *,
        now: float,
        facilities: frozenset[str] | None = None,
    ) -> dict[Target, DestinationState]:
        """Return the state and counts of these; one without a row yet is as new.

        None: of all that ever got something to do.

        `facilities`: count only deliveries of these facilities' instances.
        """

    async def pause(
        self, tenant: Tenant, target: Target, *, paused: bool, now: float, event: AuditEvent
    ) -> DestinationState:
        """Return a person pauses or resumes; resuming closes the breaker."""


class Rules(Protocol):
    """The routing of a tenant, and which instances it still has to see."""

    async def put(self, tenant: Tenant, rule: Rule, *, now: float, event: AuditEvent) -> None:
        """Create or change one; ConflictError when the name is another one's."""

    async def remove(self, tenant: Tenant, rule: str, *, now: float, event: AuditEvent) -> None:
        """Discard one; what it queued stays."""

    async def order(
        self, tenant: Tenant, rules: Sequence[str], *, now: float, event: AuditEvent
    ) -> None:
        """Return the rules the positions 1, 2, … in this order of ids.

        ConflictError when these are not all of them, each once.
        """

    async def rules(self, tenant: Tenant) -> tuple[Rule, ...]:
        """Return all, by position and name."""

    async def unrouted(self, limit: int, *, now: float) -> tuple[Routing, ...]:
        """Return indexed instances that are due for the rules, the oldest first (machinery).

        An instance is put there when it is indexed for the first time, if it is visible.
        """

    async def note_ended(
        self, tenant: Tenant, link: str, associations: Collection[bytes], *, now: float
    ) -> None:
        """Keep that these associations are over; the latest 10,000 of a Link are kept."""

    async def stored(
        self, tenant: Tenant, study: str, page: PageRequest = FIRST_PAGE
    ) -> Page[Routing]:
        """Return the visible indexed instances of a study for the rules, in order of arrival."""

    async def routed(
        self,
        tenant: Tenant,
        routings: Sequence[Routed],
        deliveries: Sequence[NewDelivery],
        *,
        now: float,
    ) -> int:
        """Queue deliveries, archive studies and record the evaluation, in one transaction.

        Gives how many deliveries were new. A study that is in an archive stays there.
        """
