"""Facilities and Links as a caller may see them; what it may not see does not exist for it."""

from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.links import Links
from swallowtail.cloud.model.ports.tenancy import People
from swallowtail.cloud.model.tenancy import Facility, Link


async def visible_facility(people: People, caller: Caller, facility: str) -> Facility:
    """Return a facility that the caller may see; raises NotFoundError."""
    caller.check_facility(facility, "facility")
    wanted = frozenset({facility})
    for found in (await people.facilities(caller.tenant, ids=wanted)).items:
        return found
    raise NotFoundError("there is no such facility")


async def visible_link(links: Links, caller: Caller, link: str) -> Link:
    """Return a Link that the caller may see; raises NotFoundError."""
    found = await links.link(caller.tenant, link)
    caller.check_facility(found.facility, "Link")
    return found
