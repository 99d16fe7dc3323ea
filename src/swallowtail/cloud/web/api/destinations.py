"""Destinations: what Links store to.

Their settings are part of the Link's versioned configuration; beside them stands how it goes.

A destination's id is its Link's id, a colon and its name: `q7…:pacs`. Every change of settings is a
new version of the Link's configuration, made on top of the newest one, so that two people who
change two destinations do not undo each other's work.
"""

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from fastapi import Response
from pydantic import Field, WithJsonSchema

from swallowtail.calls.config import (
    Configuration,
    Destination,
    EndpointKind,
    InvalidConfigurationError,
    dump,
    parse,
)
from swallowtail.calls.document import Problem
from swallowtail.cloud.link_administration.configuration import (
    ConfigurationAdministration,
    endpoints_of,
)
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.delivery import BreakerState, DestinationState, Target
from swallowtail.cloud.model.operations import ConfigurationVersion, Running
from swallowtail.cloud.model.paging import Page, PageRequest, cursor_of, key_of
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.tenancy import Link
from swallowtail.cloud.model.visibility import visible_link
from swallowtail.cloud.web.access import Caller, InOrganisation
from swallowtail.cloud.web.api.schemas import (
    MAX_NUMBER,
    Body,
    Comment,
    EndpointOut,
    Out,
    PageOut,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.problems import invalid
from swallowtail.cloud.web.roles import CONFIGURATION_READERS, CONFIGURATORS, QUEUE_MANAGERS
from swallowtail.cloud.web.route import BY_FACILITY, Route
from swallowtail.cloud.web.struct_schemas import inline_schema, merge_schema, merged

TRIES: Final = 5
"""How often a change is made anew because another version came in between."""
LINKS_AT_ONCE: Final = 50

Settings = Annotated[dict[str, Any], WithJsonSchema(inline_schema(Destination))]
SomeSettings = Annotated[dict[str, Any], WithJsonSchema(merge_schema(Destination))]
SettingsOut = Annotated[dict[str, Any], WithJsonSchema(inline_schema(Destination, closed=False))]
Expected = Annotated[int, Field(ge=0, le=MAX_NUMBER)] | None


class QueueOut(Out):
    """How a destination's queue goes.

    `counts` are deliveries by state, those that are done over the last 24 h.
    """

    paused: bool
    paused_by: str
    breaker: BreakerState
    failures: int
    retry_at: float
    detail: str
    failing_since: float | None
    delivered_at: float | None
    counts: dict[str, int]
    oldest: float | None


class DestinationOut(Out):
    """A destination.

    Its settings in version `version` of the Link's configuration, the Link's word on it, and its
    queue.
    """

    id: str
    link: str
    name: str
    version: int
    settings: SettingsOut
    running: EndpointOut | None
    """What the Link says, of one that was used lately."""
    queue: QueueOut


class DestinationNew(Body):
    """A destination to add to a Link's configuration.

    `expected` is as in the configuration itself.
    """

    link: str
    settings: Settings
    comment: Comment = ""
    expected: Expected = None


class DestinationChange(Body):
    """Settings to change; a null gives a setting its default back. The name stays."""

    settings: SomeSettings
    comment: Comment = ""
    expected: Expected = None


class StepOut(Out):
    """One step of a check: `resolve`, `policy`, `connect`, `associate`, `echo`.

    Where it failed, `detail` says what to do next.
    """

    name: str
    ok: bool
    seconds: float
    detail: str


class CheckOut(Out):
    """What a Link found when it tried a destination; after a step that failed none follows."""

    ok: bool
    steps: list[StepOut]


async def list_destinations(
    caller: InOrganisation, page: Paging, link: str | None = None
) -> PageOut[DestinationOut]:
    """List destinations by Link and name, of one Link if asked for."""
    links = [await visible_link(caller.services.links, caller, link)] if link is not None else None
    found = await _page(caller, links, page)
    rows = {row.link.id: row for row in found.items}
    running = await caller.services.configuration.running(caller.tenant, list(rows))
    states = await caller.services.queues.states(
        caller.tenant, [row.target for row in found.items], facilities=caller.principal.facilities
    )
    return page_out(found, lambda row: _out(row, running.get(row.link.id), states[row.target]))


async def create_destination(caller: InOrganisation, body: DestinationNew) -> DestinationOut:
    """Add a destination to a Link's configuration; a connected Link knows it within a second."""
    link = await visible_link(caller.services.links, caller, body.link)

    def add(entries: list[dict[str, Any]]) -> int:
        if any(entry.get("name") == body.settings.get("name") for entry in entries):
            raise ConflictError(
                f"this Link has a destination {body.settings.get('name')!r} already; change"
                " that one"
            )
        entries.append(body.settings)
        return len(entries) - 1

    row = await _edit(
        caller, link, add, act="destination.create", comment=body.comment, expected=body.expected
    )
    assert row is not None
    return await _shown(caller, row)


async def get_destination(caller: InOrganisation, destination_id: str) -> DestinationOut:
    """Give one destination with its breaker and the counts of its queue."""
    return await _shown(caller, await destination_of(caller, destination_id))


async def change_destination(
    caller: InOrganisation, destination_id: str, body: DestinationChange
) -> DestinationOut:
    """Change some of its settings; deliveries that wait are sent by the new ones."""
    target = target_of(destination_id)
    link = await visible_link(caller.services.links, caller, target.link)

    def change(entries: list[dict[str, Any]]) -> int:
        index = _index(entries, target)
        if body.settings.get("name", target.destination) != target.destination:
            raise invalid("$.settings.name", "a destination keeps its name; create another one")
        entries[index] = merged(entries[index], body.settings)
        return index

    row = await _edit(
        caller, link, change, act="destination.change", comment=body.comment, expected=body.expected
    )
    assert row is not None
    return await _shown(caller, row)


async def remove_destination(caller: InOrganisation, destination_id: str) -> Response:
    """Take a destination out of the Link's configuration; what waits for it is dead then.

    Refused while a rule sends there.
    """
    target = target_of(destination_id)
    link = await visible_link(caller.services.links, caller, target.link)
    for rule in await caller.services.rulebook.rules(caller.tenant):
        if target in rule.action.targets:
            sender = (
                f"the rule {rule.name!r}"
                if caller.principal.facilities is None
                else "a rule of the organisation"
            )
            raise ConflictError(f"{sender} sends there; change or remove the rule first")

    def remove(entries: list[dict[str, Any]]) -> None:
        del entries[_index(entries, target)]

    await _edit(caller, link, remove, act="destination.remove", comment="")
    return Response(status_code=204)


async def check_destination(caller: InOrganisation, destination_id: str) -> CheckOut:
    """Have the Link try it: resolve, connect, associate, C-ECHO.

    Each step is timed, one that fails says what to do next.
    """
    row = await destination_of(caller, destination_id)
    running = (await caller.services.configuration.running(caller.tenant, [row.link.id])).get(
        row.link.id
    )
    if (
        caller.services.sessions.presence(caller.tenant, row.link.id)
        and running
        and running.version < row.version.version
    ):
        raise ConflictError(
            f"the Link runs version {running.version} of its configuration, not"
            f" {row.version.version} yet; try again in a second, or compare them with"
            " /links/…/configuration/comparison"
        )
    event = caller.event(
        EventAction.EXECUTE,
        "destination.check",
        *objects_of(row.target),
        event=EventId.APPLICATION_ACTIVITY,
    )
    await caller.services.audit.append(caller.tenant, [event], now=caller.now)
    checked = await caller.services.sessions.check(caller.tenant, row.link.id, row.destination.name)
    steps = [StepOut.model_validate(step) for step in checked.steps]
    return CheckOut(ok=all(step.ok for step in steps), steps=steps)


async def pause_destination(caller: InOrganisation, destination_id: str) -> DestinationOut:
    """Stop sending to a destination; what is queued waits in its order until it is resumed."""
    row = await destination_of(caller, destination_id)
    await caller.services.queues.pause(
        caller.tenant, row.target, event=_act(caller, "destination.pause", row.target)
    )
    return await _shown(caller, row)


async def resume_destination(caller: InOrganisation, destination_id: str) -> DestinationOut:
    """Send again, at once.

    Also a destination that is not paused but waits after failures is tried now.
    """
    row = await destination_of(caller, destination_id)
    await caller.services.queues.resume(
        caller.tenant, row.target, event=_act(caller, "destination.resume", row.target)
    )
    return await _shown(caller, row)


def _act(caller: Caller, act: str, target: Target) -> AuditEvent:
    return caller.event(
        EventAction.UPDATE, act, *objects_of(target), event=EventId.APPLICATION_ACTIVITY
    )


class Row(msgspec.Struct, frozen=True):
    """A destination where it stands: the Link, the version of its configuration, the entry."""

    link: Link
    version: ConfigurationVersion
    destination: Destination

    @property
    def target(self) -> Target:
        """Its place, as the queues know it."""
        return Target(link=self.link.id, destination=self.destination.name)


def id_of(target: Target) -> str:
    """Give the id of a destination."""
    return f"{target.link}:{target.destination}"


def target_of(destination_id: str) -> Target:
    """Read an id; raises NotFoundError."""
    link, colon, name = destination_id.partition(":")
    if not (link and colon and name):
        raise NotFoundError(
            f"there is no destination {destination_id!r}; an id is the Link's id, a colon and the"
            " name"
        )
    return Target(link=link, destination=name)


def objects_of(target: Target) -> tuple[tuple[str, str], ...]:
    """Give what an audit event about a destination names."""
    return (("link", target.link), ("destination", target.destination))


async def destination_of(caller: Caller, destination_id: str) -> Row:
    """Give a destination that the caller may see and that is configured; raises NotFoundError."""
    target = target_of(destination_id)
    for row in await _rows(caller, await visible_link(caller.services.links, caller, target.link)):
        if row.destination.name == target.destination:
            return row
    raise _missing(target)


def _missing(target: Target) -> NotFoundError:
    return NotFoundError(
        f"there is no destination {target.destination!r} in the configuration of this Link"
    )


async def _rows(caller: Caller, link: Link) -> list[Row]:
    version = await caller.services.configuration.desired(caller.tenant, link.id)
    if version is None:
        return []
    found = parse(version.document).destinations
    return [
        Row(link, version, destination) for destination in sorted(found, key=lambda one: one.name)
    ]


async def _page(caller: Caller, links: list[Link] | None, page: PageRequest) -> Page[Row]:
    """Walk the Links by name and give `page.limit` destinations after the cursor.

    (the Links' own cursor, Link, destination).
    """
    at, after_link, after_name = key_of(page.cursor, str, str, str) if page.cursor else ("", "", "")
    found: list[Row] = []
    while True:
        if links is None:
            asked = PageRequest(LINKS_AT_ONCE, at or None)
            batch = await caller.services.links.links(
                caller.tenant, asked, facilities=caller.principal.facilities
            )
            items, following = batch.items, batch.next
        else:
            items, following = tuple(links), None
        for link in items:
            if link.name < after_link:
                continue
            for row in await _rows(caller, link):
                if (link.name, row.destination.name) <= (after_link, after_name):
                    continue
                if len(found) == page.limit:
                    return Page(
                        tuple(found),
                        cursor_of((at, found[-1].link.name, found[-1].destination.name)),
                    )
                found.append(row)
        if following is None:
            return Page(tuple(found))
        at = following


async def _edit(
    caller: Caller,
    link: Link,
    change: Callable[[list[dict[str, Any]]], int | None],
    *,
    act: str,
    comment: str,
    expected: int | None = None,
) -> Row | None:
    """Change the list of destinations in the newest version.

    `change` gives the place of the entry that it made, if any.
    """
    for _ in range(TRIES):
        desired = await caller.services.configuration.desired(caller.tenant, link.id)
        present = desired.version if desired is not None else 0
        if expected not in {None, present}:
            raise ConflictError(
                f"the newest version is {present}, not {expected}; read it and decide again"
            )
        document: dict[str, Any] = json.loads(desired.document) if desired is not None else {}
        entries = [dict(entry) for entry in document.get("destinations", ())]
        index = change(entries)
        configuration = _parsed(document | {"destinations": entries}, index)
        try:
            version = await caller.services.use_cases.get(ConfigurationAdministration).keep(
                caller, link, dump(configuration), act, comment=comment, expected=present
            )
        except ConflictError:
            continue
        return None if index is None else Row(link, version, configuration.destinations[index])
    raise ConflictError("others change this Link's configuration all the time; try again")


def _parsed(document: dict[str, Any], index: int | None) -> Configuration:
    try:
        return parse(json.dumps(document).encode())
    except InvalidConfigurationError as error:
        place = re.compile(rf"^\$\.destinations\[{index}\]")
        found = (
            Problem(field=place.sub("$.settings", one.field), message=one.message)
            for one in error.problems
        )
        raise InvalidConfigurationError(tuple(found)) from error


def _index(entries: list[dict[str, Any]], target: Target) -> int:
    for index, entry in enumerate(entries):
        if entry["name"] == target.destination:
            return index
    raise _missing(target)


async def _shown(caller: Caller, row: Row) -> DestinationOut:
    running = (await caller.services.configuration.running(caller.tenant, [row.link.id])).get(
        row.link.id
    )
    states = await caller.services.queues.states(
        caller.tenant, [row.target], facilities=caller.principal.facilities
    )
    return _out(row, running, states[row.target])


def _out(row: Row, running: Running | None, state: DestinationState) -> DestinationOut:
    name = row.destination.name
    uses = (
        one
        for one in endpoints_of(running)
        if one.kind is EndpointKind.DESTINATION and one.name == name
    )
    used = next(uses, None)
    return DestinationOut(
        id=id_of(row.target),
        link=row.link.id,
        name=name,
        version=row.version.version,
        settings=msgspec.to_builtins(row.destination),
        running=EndpointOut.model_validate(used) if used is not None else None,
        queue=QueueOut.model_validate(state),
    )


ROUTES: Final = (
    Route(
        "GET",
        "/destinations",
        list_destinations,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "destinations",
    ),
    Route(
        "POST",
        "/destinations",
        create_destination,
        CONFIGURATORS,
        BY_FACILITY,
        "destinations",
        201,
    ),
    Route(
        "GET",
        "/destinations/{destination_id}",
        get_destination,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "destinations",
    ),
    Route(
        "PATCH",
        "/destinations/{destination_id}",
        change_destination,
        CONFIGURATORS,
        BY_FACILITY,
        "destinations",
    ),
    Route(
        "DELETE",
        "/destinations/{destination_id}",
        remove_destination,
        CONFIGURATORS,
        BY_FACILITY,
        "destinations",
        204,
    ),
    Route(
        "POST",
        "/destinations/{destination_id}/check",
        check_destination,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "destinations",
    ),
    Route(
        "POST",
        "/destinations/{destination_id}/pause",
        pause_destination,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "destinations",
    ),
    Route(
        "POST",
        "/destinations/{destination_id}/resume",
        resume_destination,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "destinations",
    ),
)
