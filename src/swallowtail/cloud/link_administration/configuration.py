"""Use cases of a Link's configuration: versions, rollback, and comparison with what it reports."""

from typing import Final

import msgspec

from swallowtail.calls.config import EndpointKind, EndpointState, dump, parse
from swallowtail.cloud.link_administration.session_state import session_state
from swallowtail.cloud.model.audit import EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import ConfigurationVersion, Running
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.model.ports.links import Configurations, Links
from swallowtail.cloud.model.ports.sessions import Sessions
from swallowtail.cloud.model.tenancy import Link, Value
from swallowtail.cloud.model.topics import link_topic
from swallowtail.cloud.model.visibility import visible_link

_read_endpoints: Final = msgspec.msgpack.Decoder(tuple[EndpointState, ...])


class EndpointComparison(Value, frozen=True, kw_only=True):
    """A listener or destination: whether it is desired, and its state as the Link reported it."""

    name: str
    kind: EndpointKind
    desired: bool
    reported: EndpointState | None = None


class Comparison(Value, frozen=True, kw_only=True):
    """Desired configuration against reported configuration."""

    desired: int
    """The newest version; 0: none."""
    reported: int
    """The version that the Link runs; 0: none."""
    in_sync: bool
    online: bool
    problems: tuple[tuple[str, str], ...] = ()
    endpoints: tuple[EndpointComparison, ...] = ()


class ConfigurationAdministration:
    """The use cases of the configurations of Links in the caller's facilities."""

    def __init__(
        self,
        links: Links,
        configuration: Configurations,
        sessions: Sessions,
        bus: Bus,
        *,
        clock: Clock,
    ) -> None:
        self._links, self._configuration = links, configuration
        self._sessions, self._bus, self._clock = sessions, bus, clock

    async def desired(self, caller: Caller, link: str) -> ConfigurationVersion:
        """Return the newest version; raises NotFoundError before the first."""
        await visible_link(self._links, caller, link)
        version = await self._configuration.desired(caller.tenant, link)
        if version is None:
            raise NotFoundError("this Link has no configuration yet; put one")
        return version

    async def put(
        self,
        caller: Caller,
        link: str,
        document: bytes,
        *,
        expected: int | None = None,
        comment: str = "",
    ) -> ConfigurationVersion:
        """Make a document (JSON) the desired configuration.

        Raises InvalidConfigurationError, and ConflictError when the newest version is not the
        `expected` one.
        """
        found = await visible_link(self._links, caller, link)
        checked, kind = dump(parse(document)), "configuration.put"
        return await self.keep(caller, found, checked, kind, expected=expected, comment=comment)

    async def versions(
        self, caller: Caller, link: str, page: PageRequest = FIRST_PAGE
    ) -> Page[ConfigurationVersion]:
        """Return the versions, newest first, without their documents."""
        await visible_link(self._links, caller, link)
        return await self._configuration.history(caller.tenant, link, page)

    async def version(self, caller: Caller, link: str, version: int) -> ConfigurationVersion:
        """Return one version."""
        await visible_link(self._links, caller, link)
        return await self._configuration.version(caller.tenant, link, version)

    async def roll_back(
        self, caller: Caller, link: str, version: int, *, comment: str = ""
    ) -> ConfigurationVersion:
        """Make an older version the newest again."""
        found = await visible_link(self._links, caller, link)
        old = await self._configuration.version(caller.tenant, link, version)
        checked = dump(parse(old.document))  # against rules that are newer than the old version
        kind = "configuration.rollback"
        return await self.keep(
            caller, found, checked, kind, comment=comment, restored_from=old.version
        )

    async def compare(self, caller: Caller, link: str) -> Comparison:
        """Compare the desired configuration with the reported one."""
        await visible_link(self._links, caller, link)
        desired = await self._configuration.desired(caller.tenant, link)
        reported = (await self._configuration.running(caller.tenant, [link])).get(link)
        online = session_state(self._sessions, caller.tenant, link, reported).online
        return compare(desired, reported, online=online)

    async def keep(
        self,
        caller: Caller,
        link: Link,
        document: bytes,
        kind: str,
        *,
        comment: str,
        expected: int | None = None,
        restored_from: int | None = None,
    ) -> ConfigurationVersion:
        """Make a checked document the desired one, for a use case that has authorised the caller.

        `kind` is the type of the audit event. A connected Link is notified.
        """
        version = await self._configuration.put(
            caller.tenant,
            link.id,
            document,
            expected=expected,
            restored_from=restored_from,
            author=caller.principal.id,
            comment=comment,
            now=self._clock(),
            event=caller.event(
                EventAction.UPDATE, kind, ("link", link.id), event=EventId.APPLICATION_ACTIVITY
            ),
        )
        self._bus.publish(link_topic(link.id))
        return version


def compare(
    desired: ConfigurationVersion | None, reported: Running | None, *, online: bool
) -> Comparison:
    """Compare a desired version with what a Link reported."""
    wanted = _desired_endpoints(desired)
    states = {(state.kind, state.name): state for state in endpoints_of(reported)}
    endpoints = tuple(
        EndpointComparison(
            kind=kind, name=name, desired=(kind, name) in wanted, reported=states.get((kind, name))
        )
        for kind, name in dict.fromkeys([*wanted, *states])
    )
    newest, running = desired.version if desired else 0, reported.version if reported else 0
    listening = all(
        row.reported is not None and row.reported.state == "listening"
        for row in endpoints
        if row.desired and row.kind is EndpointKind.LISTENER
    )
    return Comparison(
        desired=newest,
        reported=running,
        in_sync=online and newest == running and listening,
        online=online,
        problems=reported.problems if reported else (),
        endpoints=endpoints,
    )


def endpoints_of(reported: Running | None) -> tuple[EndpointState, ...]:
    """Return the state of a Link's endpoints as it last reported them."""
    return _read_endpoints.decode(reported.report) if reported and reported.report else ()


def _desired_endpoints(desired: ConfigurationVersion | None) -> list[tuple[EndpointKind, str]]:
    if desired is None:
        return []
    document = parse(desired.document)
    return [
        *((EndpointKind.LISTENER, listener.name) for listener in document.listeners),
        *((EndpointKind.DESTINATION, destination.name) for destination in document.destinations),
    ]
