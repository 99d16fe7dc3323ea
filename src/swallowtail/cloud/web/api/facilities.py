"""The REST resource of facilities."""

from typing import Annotated, Final

from swallowtail.cloud.tenancy.facilities import FacilityAdministration
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import (
    FacilityChange,
    FacilityNew,
    FacilityOut,
    PageOut,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import ACCESS_MANAGERS, ANYONE
from swallowtail.cloud.web.route import BY_FACILITY, REFUSED, Route
from swallowtail.cloud.web.use_cases import provided

Administration = Annotated[FacilityAdministration, provided(FacilityAdministration)]


async def list_facilities(
    caller: InOrganisation, facilities: Administration, page: Paging, name: str | None = None
) -> PageOut[FacilityOut]:
    """List facilities.

    Returns the facilities of the organisation by name. A token that is limited to facilities sees
    those.
    """
    return page_out(
        await facilities.facilities(caller, page, name=name), FacilityOut.model_validate
    )


async def create_facility(
    caller: InOrganisation, facilities: Administration, body: FacilityNew
) -> FacilityOut:
    """Create a facility.

    Returns the facility. Its name is unique in the organisation.
    """
    created = await facilities.create(
        caller, name=body.name, title=body.title, time_zone=body.time_zone
    )
    return FacilityOut.model_validate(created)


async def get_facility(
    caller: InOrganisation, facilities: Administration, facility_id: str
) -> FacilityOut:
    """Get a facility.

    Returns one facility.
    """
    return FacilityOut.model_validate(await facilities.facility(caller, facility_id))


async def change_facility(
    caller: InOrganisation, facilities: Administration, facility_id: str, body: FacilityChange
) -> FacilityOut:
    """Update a facility.

    Changes its title or time zone.
    """
    changed = await facilities.change(
        caller, facility_id, title=body.title, time_zone=body.time_zone
    )
    return FacilityOut.model_validate(changed)


_FACILITY: Final = "/facilities/{facility_id}"

ROUTES: Final = (
    Route(
        "GET",
        "/facilities",
        list_facilities,
        ANYONE,
        BY_FACILITY,
        "organisations",
        use_case=FacilityAdministration.facilities,
    ),
    Route(
        "POST",
        "/facilities",
        create_facility,
        ACCESS_MANAGERS,
        REFUSED,
        "organisations",
        201,
        use_case=FacilityAdministration.create,
        audit="facility.create",
    ),
    Route(
        "GET",
        _FACILITY,
        get_facility,
        ANYONE,
        BY_FACILITY,
        "organisations",
        use_case=FacilityAdministration.facility,
    ),
    Route(
        "PATCH",
        _FACILITY,
        change_facility,
        ACCESS_MANAGERS,
        BY_FACILITY,
        "organisations",
        use_case=FacilityAdministration.change,
        audit="facility.change",
    ),
)
