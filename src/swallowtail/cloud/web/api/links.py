"""The REST resource of Links."""

from typing import Annotated, Final

import msgspec
from fastapi import Query, Response

from swallowtail.cloud.link_administration.links import LinkAdministration, LinkWithCode
from swallowtail.cloud.link_administration.session_state import SessionState
from swallowtail.cloud.model.tenancy import Link
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import (
    LinkChange,
    LinkNew,
    LinkOut,
    LinkStatusOut,
    LinkWithCodeOut,
    PageOut,
    PingOut,
    SessionOut,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import ACCESS_MANAGERS, CONFIGURATION_READERS, CONFIGURATORS
from swallowtail.cloud.web.route import BY_FACILITY, REFUSED, Route
from swallowtail.cloud.web.use_cases import provided

Administration = Annotated[LinkAdministration, provided(LinkAdministration)]


async def list_links(
    caller: InOrganisation, links: Administration, page: Paging, name: str | None = None
) -> PageOut[LinkOut]:
    """List Links.

    Returns the Links of the organisation by name. A token that is limited to facilities sees
    theirs.
    """
    return page_out(await links.links(caller, page, name=name), lambda one: _out(*one))


async def create_link(
    caller: InOrganisation, links: Administration, body: LinkNew
) -> LinkWithCodeOut:
    """Create a Link.

    Returns the Link with its security code, which is not shown again. The first machine that
    presents the code within 14 days is bound to it.
    """
    return _with_code(await links.create(caller, name=body.name, facility=body.facility))


async def get_link(caller: InOrganisation, links: Administration, link_id: str) -> LinkOut:
    """Get a Link.

    Returns one Link.
    """
    return _out(*await links.link(caller, link_id))


async def change_link(
    caller: InOrganisation, links: Administration, link_id: str, body: LinkChange
) -> LinkOut:
    """Update a Link.

    Changes its name or facility.
    """
    changed = await links.change(caller, link_id, name=body.name, facility=body.facility)
    return _out(*changed)


async def remove_link(caller: InOrganisation, links: Administration, link_id: str) -> Response:
    """Delete a Link.

    Deletes the Link with its security code and configuration. Stored instances are kept.
    """
    await links.delete(caller, link_id)
    return Response(status_code=204)


async def rotate_code(
    caller: InOrganisation, links: Administration, link_id: str
) -> LinkWithCodeOut:
    """Rotate the security code.

    Returns the new code, which is not shown again; put it into the Link's code file. The session
    closes within 5 s, and the device key stays bound.
    """
    return _with_code(await links.rotate_code(caller, link_id))


async def rebind_link(
    caller: InOrganisation, links: Administration, link_id: str
) -> LinkWithCodeOut:
    """Replace the machine of a Link.

    The session of the Link closes, and its device key is no longer valid. The
    first machine that presents the new code within an hour is bound.
    """
    return _with_code(await links.rebind(caller, link_id))


async def revoke_code(caller: InOrganisation, links: Administration, link_id: str) -> LinkOut:
    """Revoke the security code.

    The Link's session closes within 5 s. Rotate the code or rebind the Link to connect it again.
    """
    return _out(*await links.revoke_code(caller, link_id))


async def ping_link(
    caller: InOrganisation,
    links: Administration,
    link_id: str,
    size: Annotated[
        int, Query(alias="bytes", ge=0, le=32_768, description="Bytes to send.")
    ] = 1024,
) -> PingOut:
    """Measure the round trip to a Link.

    Sends bytes to the Link and back at interactive priority, and returns the round-trip time.
    """
    return PingOut(seconds=await links.ping(caller, link_id, size), bytes=size)


async def link_status(caller: InOrganisation, links: Administration, link_id: str) -> LinkStatusOut:
    """Get the status of a Link.

    Requests release, host, endpoints, policy and memory from the Link, which has to be online.
    """
    return LinkStatusOut.model_validate(await links.status(caller, link_id))


def _out(link: Link, session: SessionState) -> LinkOut:
    values = msgspec.structs.asdict(link) | {"key": link.key.hex()}
    return LinkOut(**values, session=SessionOut.model_validate(session))


def _with_code(issued: LinkWithCode) -> LinkWithCodeOut:
    out = _out(issued.link, issued.session)
    return LinkWithCodeOut(**out.model_dump(), code=issued.code)


_LINK: Final = "/links/{link_id}"

ROUTES: Final = (
    Route(
        "GET",
        "/links",
        list_links,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "links",
        use_case=LinkAdministration.links,
    ),
    Route(
        "POST",
        "/links",
        create_link,
        CONFIGURATORS,
        REFUSED,
        "links",
        201,
        use_case=LinkAdministration.create,
        audit="link.create",
    ),
    Route(
        "GET",
        _LINK,
        get_link,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "links",
        use_case=LinkAdministration.link,
    ),
    Route(
        "PATCH",
        _LINK,
        change_link,
        CONFIGURATORS,
        BY_FACILITY,
        "links",
        use_case=LinkAdministration.change,
        audit="link.change",
    ),
    Route(
        "DELETE",
        _LINK,
        remove_link,
        ACCESS_MANAGERS,
        BY_FACILITY,
        "links",
        204,
        use_case=LinkAdministration.delete,
        audit="link.remove",
    ),
    Route(
        "POST",
        f"{_LINK}/rotate",
        rotate_code,
        CONFIGURATORS,
        BY_FACILITY,
        "links",
        use_case=LinkAdministration.rotate_code,
        audit="link.rotate",
    ),
    Route(
        "POST",
        f"{_LINK}/rebind",
        rebind_link,
        CONFIGURATORS,
        BY_FACILITY,
        "links",
        use_case=LinkAdministration.rebind,
        audit="link.rebind",
    ),
    Route(
        "POST",
        f"{_LINK}/revoke",
        revoke_code,
        CONFIGURATORS,
        BY_FACILITY,
        "links",
        use_case=LinkAdministration.revoke_code,
        audit="link.revoke",
    ),
    Route(
        "POST",
        f"{_LINK}/ping",
        ping_link,
        CONFIGURATORS,
        BY_FACILITY,
        "links",
        use_case=LinkAdministration.ping,
    ),
    Route(
        "GET",
        f"{_LINK}/status",
        link_status,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "links",
        use_case=LinkAdministration.status,
    ),
)
