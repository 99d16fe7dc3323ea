"""Live sessions of Links, as the API sees them; `links` implements it, `web` asks it."""

from collections.abc import Mapping
from typing import Protocol

from swallowtail.calls.diagnostics import Checked, LinkStatus
from swallowtail.cloud.model.port_errors import CloudError
from swallowtail.cloud.model.tenancy import Tenant, Value


class LinkAwayError(CloudError):
    """The Link has no live session; look at its host, its network and its code, then try again."""


class Presence(Value, frozen=True, kw_only=True):
    """A live session."""

    since: float
    """When it was welcomed, UTC seconds."""
    proven: float
    """When its last frame came, UTC seconds."""
    address: str
    release: str
    epoch: int
    round_trip: float | None = None
    """Seconds, of the last echo."""


class Sessions(Protocol):
    """The Links that are connected to this node."""

    def presence(self, tenant: Tenant, link: str) -> Presence | None:
        """Give the live session of a Link; None when it has none here."""

    def connected(self) -> Mapping[tuple[Tenant, str], Presence]:
        """Give all live sessions."""

    async def ping(self, tenant: Tenant, link: str, size: int) -> float:
        """Send `size` bytes to Link and back at interactive priority; gives the seconds.

        Raises LinkAwayError.
        """

    async def status(self, tenant: Tenant, link: str) -> LinkStatus:
        """Ask a Link how it is. Raises LinkAwayError."""

    async def check(self, tenant: Tenant, link: str, destination: str) -> Checked:
        """Have a Link try a destination of its running configuration step by step.

        Raises LinkAwayError.
        """
