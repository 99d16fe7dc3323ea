"""Organisations (the operator's) and their facilities."""

from typing import Final

from fastapi import Response

from swallowtail.cloud.model.audit import EventAction
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.paging import walk
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import Facility, Organisation, OrganisationState, Tenant
from swallowtail.cloud.web.access import Anywhere, Caller, InOrganisation
from swallowtail.cloud.web.api.schemas import (
    FacilityChange,
    FacilityNew,
    FacilityOut,
    OrganisationChange,
    OrganisationNew,
    OrganisationOut,
    PageOut,
    RetentionChange,
    WhoAmI,
    page_out,
    sorted_or_none,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.problems import invalid
from swallowtail.cloud.web.roles import ACCESS_MANAGERS, ANYONE, OPERATORS
from swallowtail.cloud.web.route import BY_FACILITY, REFUSED, SAME, Route


async def who_am_i(caller: Anywhere) -> WhoAmI:
    """Say who the token says that you are."""
    principal = caller.principal
    organisation = (
        await caller.services.people.organisation(principal.tenant)
        if principal.tenant is not None
        else None
    )
    return WhoAmI(
        id=principal.id,
        name=principal.name,
        role=principal.role,
        organisation=OrganisationOut.model_validate(organisation) if organisation else None,
        facilities=sorted_or_none(principal.facilities),
        archives=sorted_or_none(principal.archives),
    )


async def list_organisations(
    caller: Anywhere, page: Paging, name: str | None = None
) -> PageOut[OrganisationOut]:
    """List organisations, by name."""
    return page_out(
        await caller.services.people.organisations(page, name=name), OrganisationOut.model_validate
    )


async def create_organisation(caller: Anywhere, body: OrganisationNew) -> OrganisationOut:
    """Create an organisation."""
    people, now = caller.services.people, caller.now
    tenant = Tenant(new_id(caller.services.random))
    organisation = Organisation(id=tenant, name=body.name, title=body.title, created=now)
    event = caller.event(EventAction.CREATE, "organisation.create", ("organisation", tenant))
    await people.add_organisation(organisation, now=now, event=event)
    return OrganisationOut.model_validate(organisation)


async def get_organisation(caller: Anywhere, organisation_id: str) -> OrganisationOut:
    """Give one organisation."""
    return OrganisationOut.model_validate(
        await caller.services.people.organisation(Tenant(organisation_id))
    )


async def change_organisation(
    caller: Anywhere, organisation_id: str, body: OrganisationChange
) -> OrganisationOut:
    """Give it another title, suspend it, or let it work again.

    Suspending ends the sessions of its Links.
    """
    if body.state is OrganisationState.REMOVED:
        raise invalid("$.state", "removing is a request of its own: DELETE this organisation")
    return await _change(
        caller, organisation_id, title=body.title, state=body.state, act="organisation.change"
    )


async def remove_organisation(caller: Anywhere, organisation_id: str) -> Response:
    """Remove an organisation.

    Its data is found no more; it is kept for the retention's days, then purged, but for its audit.
    """
    await _change(
        caller,
        organisation_id,
        title=None,
        state=OrganisationState.REMOVED,
        act="organisation.remove",
    )
    return Response(status_code=204)


async def set_retention(caller: InOrganisation, body: RetentionChange) -> OrganisationOut:
    """Set for how many days what is deleted from now on can be restored.

    Earlier deletions keep their end.
    """
    event = caller.event(
        EventAction.UPDATE,
        "retention.change",
        ("organisation", caller.tenant),
        detail=f"{body.days} days",
    )
    changed = await caller.services.retentions.set_days(
        caller.tenant, body.days, now=caller.now, event=event
    )
    return OrganisationOut.model_validate(changed)


async def _change(
    caller: Caller,
    organisation_id: str,
    *,
    title: str | None,
    state: OrganisationState | None,
    act: str,
) -> OrganisationOut:
    tenant = Tenant(organisation_id)
    event = caller.event(EventAction.UPDATE, act, ("organisation", organisation_id))
    links = await _link_ids(caller, tenant) if state not in {None, OrganisationState.ACTIVE} else []
    changed = await caller.services.people.change_organisation(
        tenant, title=title, state=state, now=caller.now, event=event
    )
    for link in links:
        caller.services.bus.publish(f"link/{link}")
    return OrganisationOut.model_validate(changed)


async def _link_ids(caller: Caller, tenant: Tenant) -> list[str]:
    return [link.id async for link in walk(lambda page: caller.services.links.links(tenant, page))]


async def list_facilities(
    caller: InOrganisation, page: Paging, name: str | None = None
) -> PageOut[FacilityOut]:
    """List facilities, by name; a token that is limited to some sees those."""
    allowed = caller.principal.facilities
    found = await caller.services.people.facilities(caller.tenant, page, name=name, ids=allowed)
    return page_out(found, FacilityOut.model_validate)


async def create_facility(caller: InOrganisation, body: FacilityNew) -> FacilityOut:
    """Create a facility."""
    facility = Facility(
        id=new_id(caller.services.random),
        name=body.name,
        title=body.title,
        time_zone=body.time_zone,
    )
    event = caller.event(EventAction.CREATE, "facility.create", ("facility", facility.id))
    await caller.services.people.put_facility(caller.tenant, facility, now=caller.now, event=event)
    return FacilityOut.model_validate(facility)


async def change_facility(
    caller: InOrganisation, facility_id: str, body: FacilityChange
) -> FacilityOut:
    """Give it another title or time zone."""
    old = await facility_of(caller, facility_id)
    facility = Facility(
        id=old.id,
        name=old.name,
        title=old.title if body.title is None else body.title,
        time_zone=old.time_zone if body.time_zone is None else body.time_zone,
    )
    event = caller.event(EventAction.UPDATE, "facility.change", ("facility", facility.id))
    await caller.services.people.put_facility(caller.tenant, facility, now=caller.now, event=event)
    return FacilityOut.model_validate(facility)


async def get_facility(caller: InOrganisation, facility_id: str) -> FacilityOut:
    """Give one facility."""
    return FacilityOut.model_validate(await facility_of(caller, facility_id))


async def facility_of(caller: Caller, facility_id: str) -> Facility:
    """Give a facility that the caller may see; raises NotFoundError."""
    caller.check_facility(facility_id, "facility")
    wanted = frozenset({facility_id})
    for facility in (await caller.services.people.facilities(caller.tenant, ids=wanted)).items:
        return facility
    raise NotFoundError("there is no such facility")


ROUTES: Final = (
    Route("GET", "/whoami", who_am_i, ANYONE, SAME, "access"),
    Route(
        "GET",
        "/organisations",
        list_organisations,
        OPERATORS,
        REFUSED,
        "organisations",
    ),
    Route(
        "POST",
        "/organisations",
        create_organisation,
        OPERATORS,
        REFUSED,
        "organisations",
        201,
    ),
    Route(
        "GET",
        "/organisations/{organisation_id}",
        get_organisation,
        OPERATORS,
        REFUSED,
        "organisations",
    ),
    Route(
        "PATCH",
        "/organisations/{organisation_id}",
        change_organisation,
        OPERATORS,
        REFUSED,
        "organisations",
    ),
    Route(
        "DELETE",
        "/organisations/{organisation_id}",
        remove_organisation,
        OPERATORS,
        REFUSED,
        "organisations",
        204,
    ),
    Route("PUT", "/retention", set_retention, ACCESS_MANAGERS, REFUSED, "organisations"),
    Route("GET", "/facilities", list_facilities, ANYONE, BY_FACILITY, "organisations"),
    Route("POST", "/facilities", create_facility, ACCESS_MANAGERS, REFUSED, "organisations", 201),
    Route(
        "GET",
        "/facilities/{facility_id}",
        get_facility,
        ANYONE,
        BY_FACILITY,
        "organisations",
    ),
    Route(
        "PATCH",
        "/facilities/{facility_id}",
        change_facility,
        ACCESS_MANAGERS,
        BY_FACILITY,
        "organisations",
    ),
)
