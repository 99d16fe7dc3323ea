"""The interface of a route: its destinations, and the senders of attempts."""

import asyncio
import enum
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

from swallowtail.calls.config import AtCap
from swallowtail.cloud.dispatch.outcomes import Outcome
from swallowtail.cloud.model.delivery import Lease
from swallowtail.cloud.model.tenancy import Tenant


class DeliveryDestination(Protocol):
    """The settings of a destination that the queues use, on every route."""

    @property
    def name(self) -> str:
        """Return its name among the destinations of its route."""

    @property
    def connections(self) -> int:
        """Return how many attempts may run at once, each on a connection of its own."""

    @property
    def outstanding(self) -> int:
        """Return how many attempts of one connection may await their response at once."""

    @property
    def attempts(self) -> int:
        """Return the cap: how often a refused payload is sent."""

    @property
    def at_cap(self) -> AtCap:
        """Return what happens at the cap."""

    @property
    def patience(self) -> float:
        """Return the sum of its deadlines in seconds."""


D = TypeVar("D", bound=DeliveryDestination)


class AttemptResult(enum.Enum):
    """The result of one attempt: delivered, failed or unknown."""

    UNKNOWN = enum.auto()
    """In progress, or ended without the route's answer."""
    DELIVERED = enum.auto()
    FAILED = enum.auto()
    """The route has answered that the destination does not have it."""


class Progress:
    """The progress of an attempt; times are the loop's."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()
        """Everything was sent: the next attempt may begin."""
        self.at = asyncio.get_running_loop().time()
        self.begun = False
        """Something was sent."""
        self.result = AttemptResult.UNKNOWN
        """The attempt behind it begins only when this one is delivered."""

    def note(self) -> None:
        """Note that something was sent."""
        self.begun = True
        self.at = asyncio.get_running_loop().time()

    def restart(self) -> None:
        """Note that everything is sent again, in another form; the next attempt has to wait."""
        self.sent.clear()
        self.note()


class AttemptRequest(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """One attempt: the lease, the destination, and the delivery ahead on its connection."""

    lease: Lease
    destination: D
    configuration: int
    connection: int
    expected: tuple[tuple[str, str, str], ...] = ()
    behind: int = 0
    may_suspect: bool = False
    """Whether the sender may find that the payload causes the end of its connections."""


class Sender(Protocol[D]):
    """The sender of one payload kind over one session of a route."""

    async def attempt(self, request: AttemptRequest[D], progress: Progress) -> tuple[Outcome, str]:
        """Make one attempt; return its outcome and the format that was sent.

        Expected failures are outcomes.
        """


class RouteSession(Protocol[D]):
    """A session of a route: a Link that is online, or the Cloud itself for one tenant."""

    @property
    def tenant(self) -> Tenant:
        """Return the tenant whose deliveries are sent."""

    @property
    def link(self) -> str:
        """Return the Link's id, '' for the Cloud itself."""

    @property
    def epoch(self) -> int:
        """Return the number of the session."""

    @property
    def session_ended(self) -> bool:
        """Return whether the session has ended."""

    def sender(self, kind: str) -> Sender[D]:
        """Return the sender of a payload kind."""

    async def destinations(self) -> tuple[int, Mapping[str, D]]:
        """Return the version of the configuration, and its destinations by name.

        Raises StorageUnavailableError.
        """
