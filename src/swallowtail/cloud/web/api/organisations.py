"""The REST resource of organisations, and who the caller is."""

from typing import Annotated, Final

from fastapi import Response

from swallowtail.cloud.tenancy.organisations import OrganisationAdministration
from swallowtail.cloud.web.access import Anywhere, InOrganisation
from swallowtail.cloud.web.api.schemas import (
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
from swallowtail.cloud.web.roles import ACCESS_MANAGERS, ANYONE, OPERATORS
from swallowtail.cloud.web.route import REFUSED, SAME, Route
from swallowtail.cloud.web.use_cases import provided

Administration = Annotated[OrganisationAdministration, provided(OrganisationAdministration)]


async def who_am_i(caller: Anywhere, organisations: Administration) -> WhoAmI:
    """Get the authenticated principal.

    Returns the token's name, role, organisation and limits.
    """
    principal = caller.principal
    organisation = await organisations.own(caller)
    return WhoAmI(
        id=principal.id,
        name=principal.name,
        role=principal.role,
        organisation=OrganisationOut.model_validate(organisation) if organisation else None,
        facilities=sorted_or_none(principal.facilities),
        archives=sorted_or_none(principal.archives),
    )


async def list_organisations(
    caller: Anywhere, organisations: Administration, page: Paging, name: str | None = None
) -> PageOut[OrganisationOut]:
    """List organisations.

    Returns the organisations by name.
    """
    found = await organisations.organisations(page, name=name)
    return page_out(found, OrganisationOut.model_validate)


async def create_organisation(
    caller: Anywhere, organisations: Administration, body: OrganisationNew
) -> OrganisationOut:
    """Create an organisation.

    Returns the organisation. Its name is unique in the Cloud.
    """
    created = await organisations.create(caller, name=body.name, title=body.title)
    return OrganisationOut.model_validate(created)


async def get_organisation(
    caller: Anywhere, organisations: Administration, organisation_id: str
) -> OrganisationOut:
    """Get an organisation.

    Returns one organisation.
    """
    return OrganisationOut.model_validate(await organisations.organisation(organisation_id))


async def change_organisation(
    caller: Anywhere,
    organisations: Administration,
    organisation_id: str,
    body: OrganisationChange,
) -> OrganisationOut:
    """Update an organisation.

    Changes its title, suspends it or reactivates it. Suspending closes the sessions of its Links.
    """
    changed = await organisations.change(
        caller, organisation_id, title=body.title, state=body.state
    )
    return OrganisationOut.model_validate(changed)


async def remove_organisation(
    caller: Anywhere, organisations: Administration, organisation_id: str
) -> Response:
    """Delete an organisation.

    Its data is no longer found. It is kept for the days of its retention, then purged, except for
    its audit records.
    """
    await organisations.remove(caller, organisation_id)
    return Response(status_code=204)


async def set_retention(
    caller: InOrganisation, organisations: Administration, body: RetentionChange
) -> OrganisationOut:
    """Set the retention.

    Sets for how many days instances that are deleted from now on can be restored. Earlier
    deletions keep their end.
    """
    return OrganisationOut.model_validate(await organisations.set_retention(caller, body.days))


_ORGANISATION: Final = "/organisations/{organisation_id}"

ROUTES: Final = (
    Route(
        "GET",
        "/whoami",
        who_am_i,
        ANYONE,
        SAME,
        "access",
        use_case=OrganisationAdministration.own,
    ),
    Route(
        "GET",
        "/organisations",
        list_organisations,
        OPERATORS,
        REFUSED,
        "organisations",
        use_case=OrganisationAdministration.organisations,
    ),
    Route(
        "POST",
        "/organisations",
        create_organisation,
        OPERATORS,
        REFUSED,
        "organisations",
        201,
        use_case=OrganisationAdministration.create,
        audit="organisation.create",
    ),
    Route(
        "GET",
        _ORGANISATION,
        get_organisation,
        OPERATORS,
        REFUSED,
        "organisations",
        use_case=OrganisationAdministration.organisation,
    ),
    Route(
        "PATCH",
        _ORGANISATION,
        change_organisation,
        OPERATORS,
        REFUSED,
        "organisations",
        use_case=OrganisationAdministration.change,
        audit="organisation.change",
    ),
    Route(
        "DELETE",
        _ORGANISATION,
        remove_organisation,
        OPERATORS,
        REFUSED,
        "organisations",
        204,
        use_case=OrganisationAdministration.remove,
        audit="organisation.remove",
    ),
    Route(
        "PUT",
        "/retention",
        set_retention,
        ACCESS_MANAGERS,
        REFUSED,
        "organisations",
        use_case=OrganisationAdministration.set_retention,
        audit="retention.change",
    ),
)
