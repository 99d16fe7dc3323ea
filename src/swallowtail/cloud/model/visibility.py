"""The part of an organisation that a caller may see; the rest does not exist for it (404)."""

from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.links import Links
from swallowtail.cloud.model.ports.tenancy import Organisations
from swallowtail.cloud.model.tenancy import Facility, Link, Role, Tenant
from swallowtail.cloud.model.use_case_errors import ForbiddenError


async def visible_facility(organisations: Organisations, caller: Caller, facility: str) -> Facility:
    """Return a facility that the caller may see; raises NotFoundError."""
    caller.check_facility(facility, "facility")
    wanted = frozenset({facility})
    for found in (await organisations.facilities(caller.tenant, ids=wanted)).items:
        return found
    raise NotFoundError("there is no such facility")


async def visible_link(links: Links, caller: Caller, link: str) -> Link:
    """Return a Link that the caller may see; raises NotFoundError."""
    found = await links.link(caller.tenant, link)
    caller.check_facility(found.facility, "Link")
    return found


def audited_tenant(caller: Caller, organisation: str | None) -> Tenant:
    """Return whose audit chain a request means: the caller's own.

    Raises ForbiddenError or NotFoundError for the one of another `organisation`.
    """
    if organisation is not None and organisation != caller.principal.tenant:
        if caller.principal.role is Role.OPERATOR:
            raise ForbiddenError(
                "an organisation's audit holds patient data, which an operator does not see"
            )
        raise NotFoundError
    return caller.tenant
