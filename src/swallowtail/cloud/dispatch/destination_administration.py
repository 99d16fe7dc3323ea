"""Use cases of destinations: entries of a Link's configuration, with their queues.

A destination's id is its Link's id, a colon and its name: `q7…:pacs`. Every change of settings is a
new version of the Link's configuration, made on top of the newest one, so that two people who
change two destinations do not undo each other's work.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from swallowtail.calls.config import (
    Configuration as Document,
)
from swallowtail.calls.config import (
    Destination,
    EndpointKind,
    EndpointState,
    InvalidConfigurationError,
    dump,
    parse,
)
from swallowtail.calls.diagnostics import Checked
from swallowtail.calls.document import Problem
from swallowtail.cloud.dispatch.queues import Queues
from swallowtail.cloud.dispatch.rule_editing import Rulebook
from swallowtail.cloud.link_administration.configuration import (
    ConfigurationAdministration,
    endpoints_of,
)
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.delivery import DestinationState, Target
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.merge_patch import merged
from swallowtail.cloud.model.operations import ConfigurationVersion, Running
from swallowtail.cloud.model.paging import Page, PageRequest, cursor_of, key_of
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.ports.links import Configurations, Links
from swallowtail.cloud.model.ports.operations import Audit
from swallowtail.cloud.model.ports.sessions import Sessions
from swallowtail.cloud.model.tenancy import Link
from swallowtail.cloud.model.use_case_errors import InvalidValueError
from swallowtail.cloud.model.visibility import visible_link

TRIES: Final = 5
"""How often a change is repeated because another version came in between."""
LINKS_AT_ONCE: Final = 50


class ConfiguredDestination(msgspec.Struct, frozen=True):
    """A destination, its Link, and the version of the configuration that holds it."""

    link: Link
    version: ConfigurationVersion
    destination: Destination

    @property
    def target(self) -> Target:
        """Return the destination as deliveries name it."""
        return Target(link=self.link.id, destination=self.destination.name)


class ListedDestination(NamedTuple):
    """A configured destination, how the Link last used it (None: not lately), and its queue."""

    configured: ConfiguredDestination
    reported: EndpointState | None
    queue: DestinationState


class DestinationAdministration:
    """Lists and changes destinations of the Links that the caller may see."""

    def __init__(
        self,
        links: Links,
        configuration: Configurations,
        *,
        administration: ConfigurationAdministration,
        queues: Queues,
        rulebook: Rulebook,
        sessions: Sessions,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._links, self._configuration = links, configuration
        self._administration, self._queues, self._rulebook = administration, queues, rulebook
        self._sessions, self._audit, self._clock = sessions, audit, clock

    async def destinations(
        self, caller: Caller, link: str | None, page: PageRequest
    ) -> Page[ListedDestination]:
        """Return destinations by Link and name; of one Link if `link` is given."""
        links = [await visible_link(self._links, caller, link)] if link is not None else None
        found = await self._page(caller, links, page)
        return Page(items=await self._listed(caller, found.items), next=found.next)

    async def destination(self, caller: Caller, destination: str) -> ListedDestination:
        """Return one destination by its id."""
        return await self._one(caller, await self.configured(caller, destination))

    async def configured(self, caller: Caller, destination: str) -> ConfiguredDestination:
        """Return a destination that is configured; raises NotFoundError."""
        target = target_of(destination)
        link = await visible_link(self._links, caller, target.link)
        for row in await self._rows(caller, link):
            if row.destination.name == target.destination:
                return row
        raise _missing(target)

    async def create(
        self,
        caller: Caller,
        link: str,
        settings: dict[str, Any],
        *,
        comment: str,
        expected: int | None,
    ) -> ListedDestination:
        """Add a destination to a Link's configuration; raises ConflictError for a known name."""
        found = await visible_link(self._links, caller, link)

        def add(entries: list[dict[str, Any]]) -> int:
            if any(entry.get("name") == settings.get("name") for entry in entries):
                raise ConflictError(
                    f"this Link has a destination {settings.get('name')!r} already; change that one"
                )
            entries.append(settings)
            return len(entries) - 1

        row = await self._edit(
            caller, found, add, "destination.create", comment=comment, expected=expected
        )
        assert row is not None
        return await self._one(caller, row)

    async def change(
        self,
        caller: Caller,
        destination: str,
        settings: dict[str, Any],
        *,
        comment: str,
        expected: int | None,
    ) -> ListedDestination:
        """Merge settings into those of a destination (RFC 7396); the name stays."""
        target = target_of(destination)
        link = await visible_link(self._links, caller, target.link)

        def change(entries: list[dict[str, Any]]) -> int:
            index = _index(entries, target)
            if settings.get("name", target.destination) != target.destination:
                message = "a destination keeps its name; create another one"
                raise InvalidValueError("$.settings.name", message)
            entries[index] = merged(entries[index], settings)
            return index

        row = await self._edit(
            caller, link, change, "destination.change", comment=comment, expected=expected
        )
        assert row is not None
        return await self._one(caller, row)

    async def delete(self, caller: Caller, destination: str) -> None:
        """Remove a destination from the configuration; raises ConflictError while a rule uses it.

        Its pending deliveries become dead letters.
        """
        target = target_of(destination)
        link = await visible_link(self._links, caller, target.link)
        for rule in await self._rulebook.rules(caller.tenant):
            if target in rule.action.targets:
                limited = caller.principal.facilities is not None
                sender = "a rule of the organisation" if limited else f"the rule {rule.name!r}"
                raise ConflictError(f"{sender} sends there; change or remove the rule first")

        def remove(entries: list[dict[str, Any]]) -> None:
            del entries[_index(entries, target)]

        await self._edit(caller, link, remove, "destination.remove", comment="")

    async def check(self, caller: Caller, destination: str) -> Checked:
        """Request the Link to check a destination step by step.

        Raises LinkOfflineError where the Link is offline, and ConflictError where it does not run
        the newest configuration yet.
        """
        row = await self.configured(caller, destination)
        reported = (await self._configuration.running(caller.tenant, [row.link.id])).get(
            row.link.id
        )
        online = self._sessions.session(caller.tenant, row.link.id)
        if online and reported and reported.version < row.version.version:
            raise ConflictError(
                f"the Link runs version {reported.version} of its configuration, not"
                f" {row.version.version} yet; try again in a second, or compare them with"
                " /links/…/configuration/comparison"
            )
        event = _event(caller, EventAction.EXECUTE, "destination.check", row.target)
        await self._audit.append(caller.tenant, [event], now=self._clock())
        return await self._sessions.check(caller.tenant, row.link.id, row.destination.name)

    async def pause(self, caller: Caller, destination: str) -> ListedDestination:
        """Pause a destination: its pending deliveries wait until it is resumed."""
        row = await self.configured(caller, destination)
        event = _event(caller, EventAction.UPDATE, "destination.pause", row.target)
        await self._queues.pause(caller.tenant, row.target, event=event)
        return await self._one(caller, row)

    async def resume(self, caller: Caller, destination: str) -> ListedDestination:
        """Resume a destination; its next delivery is attempted at once."""
        row = await self.configured(caller, destination)
        event = _event(caller, EventAction.UPDATE, "destination.resume", row.target)
        await self._queues.resume(caller.tenant, row.target, event=event)
        return await self._one(caller, row)

    async def _one(self, caller: Caller, row: ConfiguredDestination) -> ListedDestination:
        (listed,) = await self._listed(caller, [row])
        return listed

    async def _listed(
        self, caller: Caller, rows: Sequence[ConfiguredDestination]
    ) -> tuple[ListedDestination, ...]:
        links = list(dict.fromkeys(row.link.id for row in rows))
        reported = await self._configuration.running(caller.tenant, links)
        states = await self._queues.states(
            caller.tenant, [row.target for row in rows], facilities=caller.principal.facilities
        )
        return tuple(
            ListedDestination(row, _endpoint(row, reported), states[row.target]) for row in rows
        )

    async def _rows(self, caller: Caller, link: Link) -> list[ConfiguredDestination]:
        version = await self._configuration.desired(caller.tenant, link.id)
        if version is None:
            return []
        found = sorted(parse(version.document).destinations, key=lambda one: one.name)
        return [ConfiguredDestination(link, version, destination) for destination in found]

    async def _page(
        self, caller: Caller, links: Sequence[Link] | None, page: PageRequest
    ) -> Page[ConfiguredDestination]:
        """Walk the Links by name and return `page.limit` destinations after the cursor.

        The cursor holds the Links' own cursor, the Link and the destination.
        """
        at, *after = key_of(page.cursor, str, str, str) if page.cursor else ("", "", "")
        found: list[ConfiguredDestination] = []
        while True:
            items, following = await self._links_page(caller, links, at)
            for link in items:
                if link.name < after[0]:
                    continue
                for row in await self._rows(caller, link):
                    if (link.name, row.destination.name) <= (after[0], after[1]):
                        continue
                    if len(found) == page.limit:
                        last = found[-1]
                        key = (at, last.link.name, last.destination.name)
                        return Page(tuple(found), cursor_of(key))
                    found.append(row)
            if following is None:
                return Page(tuple(found))
            at = following

    async def _links_page(
        self, caller: Caller, links: Sequence[Link] | None, cursor: str
    ) -> tuple[Sequence[Link], str | None]:
        if links is not None:
            return links, None
        asked, facilities = PageRequest(LINKS_AT_ONCE, cursor or None), caller.principal.facilities
        batch = await self._links.links(caller.tenant, asked, facilities=facilities)
        return batch.items, batch.next

    async def _edit(
        self,
        caller: Caller,
        link: Link,
        change: Callable[[list[dict[str, Any]]], int | None],
        kind: str,
        *,
        comment: str,
        expected: int | None = None,
    ) -> ConfiguredDestination | None:
        """Change the list of destinations in the newest version.

        `change` returns the index of the entry that it made, if any.
        """
        for _ in range(TRIES):
            desired = await self._configuration.desired(caller.tenant, link.id)
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
                version = await self._administration.keep(
                    caller, link, dump(configuration), kind, comment=comment, expected=present
                )
            except ConflictError:
                continue
            if index is None:
                return None
            return ConfiguredDestination(link, version, configuration.destinations[index])
        raise ConflictError("others change this Link's configuration all the time; try again")


def id_of(target: Target) -> str:
    """Return the id of a destination."""
    return f"{target.link}:{target.destination}"


def target_of(destination: str) -> Target:
    """Return the destination of an id; raises NotFoundError."""
    link, colon, name = destination.partition(":")
    if not (link and colon and name):
        raise NotFoundError(
            f"there is no destination {destination!r}; an id is the Link's id, a colon and the name"
        )
    return Target(link=link, destination=name)


def objects_of(target: Target) -> tuple[tuple[str, str], ...]:
    """Return the objects of an audit event about a destination."""
    return (("link", target.link), ("destination", target.destination))


def _event(caller: Caller, action: EventAction, kind: str, target: Target) -> AuditEvent:
    activity = EventId.APPLICATION_ACTIVITY
    return caller.event(action, kind, *objects_of(target), event=activity)


def _missing(target: Target) -> NotFoundError:
    return NotFoundError(
        f"there is no destination {target.destination!r} in the configuration of this Link"
    )


def _index(entries: Sequence[Mapping[str, Any]], target: Target) -> int:
    for index, entry in enumerate(entries):
        if entry["name"] == target.destination:
            return index
    raise _missing(target)


def _endpoint(row: ConfiguredDestination, reported: Mapping[str, Running]) -> EndpointState | None:
    for one in endpoints_of(reported.get(row.link.id)):
        if one.kind is EndpointKind.DESTINATION and one.name == row.destination.name:
            return one
    return None


def _parsed(document: Mapping[str, Any], index: int | None) -> Document:
    """Return the configuration; problems of the entry at `index` are those of `$.settings`."""
    try:
        return parse(json.dumps(document).encode())
    except InvalidConfigurationError as error:
        place = re.compile(rf"^\$\.destinations\[{index}\]")
        found = (
            Problem(field=place.sub("$.settings", one.field), message=one.message)
            for one in error.problems
        )
        raise InvalidConfigurationError(tuple(found)) from error
