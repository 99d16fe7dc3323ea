"""Ports of alarms and the audit."""

from collections.abc import Collection, Sequence
from typing import Protocol

from swallowtail.cloud.model.audit import (
    ALL_RECORDS,
    AuditEvent,
    AuditRecord,
    AuditSearch,
    ChainHead,
    ChainVerdict,
)
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.exporting import AuditExport, AuditReceiver
from swallowtail.cloud.model.operations import RAISED, Alarm, AlarmSearch, NewAlarm
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import (
    Tenant,
)


class Alarms(Protocol):
    """Conditions that a person should see; edge-triggered."""

    async def raise_alarm(self, tenant: Tenant, alarm: NewAlarm, *, now: float) -> Alarm:
        """Raise it, or count it again if this condition of this subject is raised already."""

    async def clear(
        self, tenant: Tenant, condition: Condition, subject: str, *, now: float
    ) -> bool:
        """Clear the alarm of a condition that has ended; return whether it was raised."""

    async def keep(
        self, tenant: Tenant, condition: Condition, wanted: Collection[NewAlarm], *, now: float
    ) -> int:
        """Set the raised alarms of a condition to exactly these, for periodic checks.

        Gives how many were raised or cleared.

        One that is raised already is left as it is, and not counted again; unless its severity is
        another now: then it takes that with the detail, counts as raised, and waits to be
        acknowledged again. Nothing is written where nothing changes.
        """

    async def acknowledge(
        self, tenant: Tenant, alarm: int, *, now: float, event: AuditEvent
    ) -> Alarm:
        """Record that a person has seen it: `event.actor` is kept.

        Acknowledging twice keeps the first.
        """

    async def alarms(
        self, tenant: Tenant, page: PageRequest = FIRST_PAGE, *, search: AlarmSearch = RAISED
    ) -> Page[Alarm]:
        """List the alarms that match, newest first; by default those that are not cleared."""


class Audit(Protocol):
    """The tenant's chain of authenticated records. OPERATOR has one of its own."""

    async def append(self, tenant: Tenant, events: Sequence[AuditEvent], *, now: float) -> None:
        """Add events that change nothing else: reading, searching, signing in."""

    async def records(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        search: AuditSearch = ALL_RECORDS,
    ) -> Page[AuditRecord]:
        """List the records that match, newest first.

        By time, records of the same time by sequence.
        """

    async def after(self, tenant: Tenant, sequence: int, limit: int) -> tuple[AuditRecord, ...]:
        """Return the records behind a place, in their order (machinery)."""

    async def verify(self, tenant: Tenant, exported: Collection[ChainHead] = ()) -> ChainVerdict:
        """Check the whole chain, and that these heads.

        Which were exported of it, are still in it.
        """

    async def head(self, tenant: Tenant) -> ChainHead:
        """Return the place and digest of the last record; sequence 0: there is none."""

    async def heads(self) -> tuple[ChainHead, ...]:
        """Return the heads of all chains (machinery)."""

    async def holds(self, heads: Collection[ChainHead]) -> frozenset[ChainHead]:
        """Return those of the heads whose record is in its chain with this digest (machinery)."""

    async def newest_key(self) -> int:
        """Return the number of the newest key that the end of any chain has; 0.

        None has one (machinery).
        """

    async def begin_key(self, *, now: float) -> int:
        """Append to each chain that ends under an older key the record that begins the newest.

        Return their number (machinery).
        """


class AuditExports(Protocol):
    """The receivers of the tenants' audits, with their progress.

    OPERATOR has an export of its own.
    """

    async def put(
        self, tenant: Tenant, receiver: AuditReceiver, *, whole: bool, now: float, event: AuditEvent
    ) -> AuditExport:
        """Set the receiver.

        A new export begins behind the present end of the chain, `whole` (re)starts it at its
        beginning.
        """

    async def export(self, tenant: Tenant) -> AuditExport | None:
        """Return a tenant's export, None where there is none."""

    async def remove(self, tenant: Tenant, *, now: float, event: AuditEvent) -> bool:
        """End the export; False when there was none."""

    async def exports(self) -> tuple[AuditExport, ...]:
        """Return all exports (machinery)."""

    async def advance(
        self, before: AuditExport, sequence: int, *, now: float
    ) -> AuditExport | None:
        """Note that the receiver has taken the records up to `sequence`.

        None when the export was changed meanwhile (machinery).
        """

    async def fail(self, before: AuditExport, detail: str, *, now: float) -> AuditExport | None:
        """Note that an attempt has failed.

        None when the export was changed meanwhile (machinery).
        """
