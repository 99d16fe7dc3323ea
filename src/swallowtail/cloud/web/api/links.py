"""Links.

Created with a code that is shown once, rotated, revoked, rebound, and how they are right now.
"""

from typing import Annotated, Final

import msgspec
from fastapi import Query, Response

from swallowtail.cloud.model.audit import EventAction
from swallowtail.cloud.model.credentials import mint_code
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.operations import Running
from swallowtail.cloud.model.tenancy import FIRST_CODE_WINDOW, REBIND_WINDOW, Code, Link
from swallowtail.cloud.model.visibility import visible_facility
from swallowtail.cloud.web.access import Caller, InOrganisation
from swallowtail.cloud.web.api.schemas import (
    LinkChange,
    LinkNew,
    LinkOut,
    LinkStatusOut,
    LinkWithCode,
    PageOut,
    PingOut,
    PresenceOut,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import ACCESS_MANAGERS, CONFIGURATION_READERS, CONFIGURATORS
from swallowtail.cloud.web.route import BY_FACILITY, REFUSED, Route


async def list_links(
    caller: InOrganisation, page: Paging, name: str | None = None
) -> PageOut[LinkOut]:
    """List Links, by name."""
    found = await caller.services.links.links(
        caller.tenant, page, name=name, facilities=caller.principal.facilities
    )
    running = await caller.services.configuration.running(
        caller.tenant, [link.id for link in found.items]
    )
    return page_out(found, lambda link: _out(caller, link, running.get(link.id)))


async def create_link(caller: InOrganisation, body: LinkNew) -> LinkWithCode:
    """Create a Link and show its security code, once.

    The first machine that presents it within 14 days is bound to it.
    """
    facility = await visible_facility(caller.services.people, caller, body.facility)
    now = caller.now
    code, kept = _mint(caller, until=now + FIRST_CODE_WINDOW)
    link = Link(
        id=new_id(caller.services.random),
        facility=facility.id,
        name=body.name,
        code_until=kept.until,
        created=now,
    )
    event = caller.event(EventAction.CREATE, "link.create", ("link", link.id))
    await caller.services.links.add(caller.tenant, link, kept, now=now, event=event)
    return _with_code(caller, link, code)


async def get_link(caller: InOrganisation, link_id: str) -> LinkOut:
    """Give one Link."""
    link = await link_of(caller, link_id)
    running = await caller.services.configuration.running(caller.tenant, [link.id])
    return _out(caller, link, running.get(link.id))


async def change_link(caller: InOrganisation, link_id: str, body: LinkChange) -> LinkOut:
    """Give it another name or facility."""
    link = await link_of(caller, link_id)
    if body.name not in {None, link.name}:
        # names are unique in the organisation, so one that is taken would tell
        caller.check_unlimited()
    facility = (
        (await visible_facility(caller.services.people, caller, body.facility)).id
        if body.facility is not None
        else link.facility
    )
    event = caller.event(EventAction.UPDATE, "link.change", ("link", link.id))
    name = body.name if body.name is not None else link.name
    await caller.services.links.change(
        caller.tenant, link.id, name=name, facility=facility, now=caller.now, event=event
    )
    caller.services.bus.publish(topic(link.id))
    return await get_link(caller, link_id)


async def remove_link(caller: InOrganisation, link_id: str) -> Response:
    """Forget a Link, its code and its configuration; what it brought stays."""
    link = await link_of(caller, link_id)
    event = caller.event(EventAction.DELETE, "link.remove", ("link", link.id))
    await caller.services.links.remove(caller.tenant, link.id, now=caller.now, event=event)
    caller.services.bus.publish(topic(link.id))
    return Response(status_code=204)


async def rotate_code(caller: InOrganisation, link_id: str) -> LinkWithCode:
    """Replace the code; the session ends within 5 s, the device key stays bound.

    Put the new code into the Link's code file.
    """
    link = await link_of(caller, link_id)
    code, kept = _mint(caller, until=caller.now + FIRST_CODE_WINDOW)
    event = caller.event(EventAction.UPDATE, "link.rotate", ("link", link.id))
    changed = await caller.services.links.rotate(
        caller.tenant, link.id, kept, now=caller.now, event=event
    )
    caller.services.bus.publish(topic(link.id))
    return _with_code(caller, changed, code)


async def rebind_link(caller: InOrganisation, link_id: str) -> LinkWithCode:
    """Replace this machine.

    The old session and key go, the first machine that presents the new code within an hour is
    bound.
    """
    link = await link_of(caller, link_id)
    code, kept = _mint(caller, until=caller.now + REBIND_WINDOW)
    event = caller.event(EventAction.UPDATE, "link.rebind", ("link", link.id))
    changed = await caller.services.links.rebind(
        caller.tenant, link.id, kept, now=caller.now, event=event
    )
    caller.services.bus.publish(topic(link.id))
    return _with_code(caller, changed, code)


async def revoke_code(caller: InOrganisation, link_id: str) -> LinkOut:
    """Make the code good for nothing; the session ends within 5 s.

    Rotate or rebind bring the Link back.
    """
    link = await link_of(caller, link_id)
    event = caller.event(EventAction.UPDATE, "link.revoke", ("link", link.id))
    await caller.services.links.revoke(caller.tenant, link.id, now=caller.now, event=event)
    caller.services.bus.publish(topic(link.id))
    return await get_link(caller, link_id)


async def ping_link(
    caller: InOrganisation,
    link_id: str,
    size: Annotated[int, Query(alias="bytes", ge=0, le=32_768)] = 1024,
) -> PingOut:
    """Send bytes to the Link and back, at interactive priority."""
    link = await link_of(caller, link_id)
    return PingOut(
        seconds=await caller.services.sessions.ping(caller.tenant, link.id, size), bytes=size
    )


async def link_status(caller: InOrganisation, link_id: str) -> LinkStatusOut:
    """Ask the Link how it is."""
    link = await link_of(caller, link_id)
    return LinkStatusOut.model_validate(
        await caller.services.sessions.status(caller.tenant, link.id)
    )


async def link_of(caller: Caller, link_id: str) -> Link:
    """Give a Link that the caller may see; raises NotFoundError."""
    link = await caller.services.links.link(caller.tenant, link_id)
    caller.check_facility(link.facility, "Link")
    return link


def topic(link_id: str) -> str:
    """Give the topic that wakes whoever holds the session of a Link."""
    return f"link/{link_id}"


def _mint(caller: Caller, *, until: float) -> tuple[str, Code]:
    code = mint_code(caller.services.random)
    return code, Code(digest=caller.services.hashes.of_code(code), until=until)


def presence_of(caller: Caller, link_id: str, running: Running | None) -> PresenceOut:
    """Say whether a Link is connected.

    Here as the session knows it, elsewhere as the store does.
    """
    here = caller.services.sessions.presence(caller.tenant, link_id)
    if here is not None:
        known = msgspec.structs.asdict(here)
        return PresenceOut(
            connected=True,
            **{name: known[name] for name in PresenceOut.model_fields if name in known},
        )
    if running is None:
        return PresenceOut(connected=False)
    return PresenceOut(
        connected=running.connected,
        since=running.since,
        proven=running.seen,
        address=running.address,
        release=running.release,
    )


def _out(caller: Caller, link: Link, running: Running | None) -> LinkOut:
    values = msgspec.structs.asdict(link) | {"key": link.key.hex()}
    return LinkOut(**values, presence=presence_of(caller, link.id, running))


def _with_code(caller: Caller, link: Link, code: str) -> LinkWithCode:
    return LinkWithCode(**_out(caller, link, None).model_dump(), code=code)


ROUTES: Final = (
    Route("GET", "/links", list_links, CONFIGURATION_READERS, BY_FACILITY, "links"),
    Route("POST", "/links", create_link, CONFIGURATORS, REFUSED, "links", 201),
    Route("GET", "/links/{link_id}", get_link, CONFIGURATION_READERS, BY_FACILITY, "links"),
    Route("PATCH", "/links/{link_id}", change_link, CONFIGURATORS, BY_FACILITY, "links"),
    Route("DELETE", "/links/{link_id}", remove_link, ACCESS_MANAGERS, BY_FACILITY, "links", 204),
    Route("POST", "/links/{link_id}/rotate", rotate_code, CONFIGURATORS, BY_FACILITY, "links"),
    Route("POST", "/links/{link_id}/rebind", rebind_link, CONFIGURATORS, BY_FACILITY, "links"),
    Route("POST", "/links/{link_id}/revoke", revoke_code, CONFIGURATORS, BY_FACILITY, "links"),
    Route("POST", "/links/{link_id}/ping", ping_link, CONFIGURATORS, BY_FACILITY, "links"),
    Route(
        "GET", "/links/{link_id}/status", link_status, CONFIGURATION_READERS, BY_FACILITY, "links"
    ),
)
