"""Ports of organisations, facilities and API tokens."""

from typing import Protocol

from swallowtail.cloud.model.audit import (
    AuditEvent,
)
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import (
    ALL_TOKENS,
    ApiToken,
    Facility,
    Organisation,
    OrganisationState,
    RefusedToken,
    Tenant,
    TokenChange,
    TokenSearch,
)


class Organisations(Protocol):
    """Organisations and facilities."""

    async def add_organisation(
        self, organisation: Organisation, *, now: float, event: AuditEvent
    ) -> None:
        """Create a tenant (operator); raises ConflictError when the id or name is taken."""

    async def change_organisation(
        self,
        tenant: Tenant,
        *,
        title: str | None = None,
        state: OrganisationState | None = None,
        now: float,
        event: AuditEvent,
    ) -> Organisation:
        """Change title or state (operator).

        Suspending or removing raises the epoch of its Links, which fences them.
        """

    async def organisation(self, tenant: Tenant) -> Organisation:
        """Return one that is not removed."""

    async def organisations(
        self, page: PageRequest = FIRST_PAGE, *, name: str | None = None
    ) -> Page[Organisation]:
        """List those that are not removed (operator), by name."""

    async def put_facility(
        self, tenant: Tenant, facility: Facility, *, now: float, event: AuditEvent
    ) -> None:
        """Create it or change its name, title and time zone.

        Raises ConflictError when the name is another one's.
        """

    async def facilities(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        name: str | None = None,
        ids: frozenset[str] | None = None,
    ) -> Page[Facility]:
        """List facilities by name, of these ids if given."""


class Tokens(Protocol):
    """API tokens. `tenant` is OPERATOR for the operator's own."""

    async def add(self, token: ApiToken, digest: bytes, *, now: float, event: AuditEvent) -> None:
        """Add a token under the keyed hash (32 bytes) of its secret.

        ConflictError when id or hash is taken.

        When an operator (`event.role`) adds a token of an organisation, the alarm OPERATOR_TOKEN is
        raised there.
        """

    async def find(self, digest: bytes, *, now: float) -> ApiToken | None:
        """Return the token whose secret has this hash.

        Also one that had it before a rotation whose grace has not ended.

        None when there is none, when it is revoked or expired, and when its organisation is not
        active.
        """

    async def refusal(self, digest: bytes, *, now: float) -> RefusedToken:
        """Return why `find` returned None for this hash, and whose token it is or was."""

    async def token(self, tenant: Tenant, token: str) -> ApiToken:
        """Return one token by its id, also a revoked one."""

    async def tokens(
        self,
        tenant: Tenant,
        search: TokenSearch = ALL_TOKENS,
        page: PageRequest = FIRST_PAGE,
        *,
        now: float,
    ) -> Page[ApiToken]:
        """List the tokens that match, by id, also revoked ones.

        `now` decides which have expired.
        """

    async def change(
        self,
        tenant: Tenant,
        token: str,
        change: TokenChange,
        *,
        now: float,
        event: AuditEvent,
    ) -> ApiToken:
        """Change what is set in `change`; ConflictError when the token is revoked.

        When an operator changes a token of an organisation, OPERATOR_TOKEN is raised there, to be
        acknowledged again.
        """

    async def rotate(
        self,
        tenant: Tenant,
        token: str,
        digest: bytes,
        *,
        until: float | None,
        now: float,
        event: AuditEvent,
    ) -> ApiToken:
        """Replace the secret by the one with this hash; the old one stays valid `until` then, None.

        It ends at once.

        A secret that an earlier rotation left valid ends in either case. ConflictError when the
        token is revoked or expired. OPERATOR_TOKEN: raised, to be acknowledged again, when an
        operator rotates a token of an organisation, who sees its secret. Cleared when the
        organisation rotates without `until`, but not by a token for which that alarm is raised
        itself.
        """

    async def revoke(self, tenant: Tenant, token: str, *, now: float, event: AuditEvent) -> None:
        """Revoke a token; revoking it again is no error.

        Clears OPERATOR_TOKEN, but not when an operator revokes it: who made a token does not clear
        its alarm.
        """
