"""The route through a Link that is online."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from swallowtail.calls.config import Destination, InvalidConfigurationError, parse
from swallowtail.calls.deliver import DeliverAnswer, DeliverRequest
from swallowtail.cloud.dispatch.attempt import Progress, Sender
from swallowtail.cloud.model.ports.links import Configurations
from swallowtail.cloud.model.tenancy import Tenant


class LinkPath(Protocol):
    """A session of a Link on which instances can be delivered."""

    @property
    def tenant(self) -> Tenant:
        """Return the Link's tenant."""

    @property
    def link(self) -> str:
        """Return the Link's id."""

    @property
    def epoch(self) -> int:
        """Return the session's number among the Link's."""

    @property
    def session_ended(self) -> bool:
        """Return whether the session has ended."""

    async def deliver(
        self, request: DeliverRequest, pieces: AsyncIterator[bytes], progress: Progress
    ) -> DeliverAnswer:
        """Send one instance and return the Link's answer.

        Cancelling it cancels the delivery. Raises LinkOfflineError.
        """

    async def echoes(self, destination: str) -> bool:
        """Return whether a destination responds to a C-ECHO of the Link.

        Raises LinkOfflineError.
        """


LinkSenders = Mapping[str, Callable[[LinkPath], Sender[Destination]]]
"""How payloads are sent through a Link, by kind."""


class LinkRoute:
    """A session of a Link with its destinations and one sender for each payload kind."""

    def __init__(self, path: LinkPath, configuration: Configurations, senders: LinkSenders) -> None:
        self._path, self._configuration = path, configuration
        self._senders = {kind: create(path) for kind, create in senders.items()}
        self._known: tuple[int, Mapping[str, Destination]] = (0, {})

    @property
    def tenant(self) -> Tenant:
        """Return the Link's tenant."""
        return self._path.tenant

    @property
    def link(self) -> str:
        """Return the Link's id."""
        return self._path.link

    @property
    def epoch(self) -> int:
        """Return the session's number among the Link's."""
        return self._path.epoch

    @property
    def session_ended(self) -> bool:
        """Return whether the session has ended."""
        return self._path.session_ended

    def sender(self, kind: str) -> Sender[Destination]:
        """Return the sender of a payload kind."""
        return self._senders[kind]

    async def destinations(self) -> tuple[int, Mapping[str, Destination]]:
        """Return the destinations of the desired configuration, by name, with its version."""
        desired = await self._configuration.desired(self.tenant, self.link)
        if desired is not None and desired.version != self._known[0]:
            try:
                named = {one.name: one for one in parse(desired.document).destinations}
            except InvalidConfigurationError:
                named = {}
            self._known = desired.version, named
        return self._known
