"""Ports of Links and their configuration."""

from collections.abc import Collection, Sequence
from typing import Protocol

from swallowtail.cloud.model.audit import (
    AuditEvent,
)
from swallowtail.cloud.model.operations import (
    ConfigurationVersion,
    Running,
    UnknownDevice,
)
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import (
    Admission,
    Link,
    SecurityCode,
    Tenant,
)


class Links(Protocol):
    """Links and their credentials.

    Whatever kills a session raises the epoch here; closing the socket is the caller's.
    """

    async def add(
        self, tenant: Tenant, link: Link, code: SecurityCode, *, now: float, event: AuditEvent
    ) -> None:
        """Create a Link with a fresh code (`code.until` is FIRST_CODE_WINDOW later).

        ConflictError when id or name is taken.
        """

    async def link(self, tenant: Tenant, link: str) -> Link:
        """Return one Link."""

    async def links(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        name: str | None = None,
        facilities: frozenset[str] | None = None,
    ) -> Page[Link]:
        """List Links by name, those of `facilities` only if given."""

    async def change(
        self, tenant: Tenant, link: str, *, name: str, facility: str, now: float, event: AuditEvent
    ) -> Link:
        """Change name or facility; ConflictError when the name is another one's."""

    async def remove(self, tenant: Tenant, link: str, *, now: float, event: AuditEvent) -> None:
        """Delete the Link with its code and documents; stored instances are kept."""

    async def rotate(
        self, tenant: Tenant, link: str, code: SecurityCode, *, now: float, event: AuditEvent
    ) -> Link:
        """Replace the code, fence the session; a bound key stays bound.

        A Link without key gets a new window (`code.until`).
        """

    async def rebind(
        self, tenant: Tenant, link: str, code: SecurityCode, *, now: float, event: AuditEvent
    ) -> Link:
        """Replace this machine: drop key and code, fence the session.

        The first key before `code.until` is bound.
        """

    async def revoke(self, tenant: Tenant, link: str, *, now: float, event: AuditEvent) -> Link:
        """Revoke the code and fence the session.

        Rotate or rebind bring the Link back.
        """

    async def admit(self, code: bytes, key: bytes, *, address: str, now: float) -> Admission:
        """Return whether a hello is admitted, by the code's keyed hash and the proven key.

        Bind a fresh code, raise the epoch, write the audit record.

        Another key than the bound one raises the alarm LINK_KEY. The caller has checked the proof
        before (wire §3).
        """


class Configurations(Protocol):
    """The documents of Links, and what the Links report.

    Documents are opaque here: validate before, with `calls.config.parse`.
    """

    async def put(
        self,
        tenant: Tenant,
        link: str,
        document: bytes,
        *,
        expected: int | None = None,
        restored_from: int | None = None,
        author: str,
        comment: str = "",
        now: float,
        event: AuditEvent,
    ) -> ConfigurationVersion:
        """Make `document` the desired one and give its version.

        The same bytes as the present one give the present version.

        Raises ConflictError when `expected` is given and is not the present version (0: none yet).
        """

    async def desired(self, tenant: Tenant, link: str) -> ConfigurationVersion | None:
        """Return the newest version; None before the first."""

    async def version(self, tenant: Tenant, link: str, version: int) -> ConfigurationVersion:
        """Return one version."""

    async def history(
        self, tenant: Tenant, link: str, page: PageRequest = FIRST_PAGE
    ) -> Page[ConfigurationVersion]:
        """List versions, the newest first, with their documents left empty."""

    async def note_running(self, tenant: Tenant, running: Running) -> None:
        """Store what a Link reports; a report of an older epoch than the kept one is ignored.

        Not audited.
        """

    async def running(self, tenant: Tenant, links: Collection[str]) -> dict[str, Running]:
        """Return the last reports of these Links; a Link that never reported is absent."""

    async def note_unknown(self, tenant: Tenant, devices: Sequence[UnknownDevice]) -> None:
        """Add up what Links saw: counts grow, `first` and `last` widen.

        At most 1,000 are kept per Link, the latest.
        """

    async def unknown_devices(
        self, tenant: Tenant, page: PageRequest = FIRST_PAGE, *, link: str | None = None
    ) -> Page[UnknownDevice]:
        """List unknown devices, the latest seen first."""

    async def delete_unknown(
        self, tenant: Tenant, link: str, address: str, calling_ae: str
    ) -> None:
        """Drop what was noted of this device, since it is configured now or dismissed."""
