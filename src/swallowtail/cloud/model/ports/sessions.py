"""The port of live sessions: `links` implements it."""

from collections.abc import Mapping
from typing import Protocol

from swallowtail.calls.diagnostics import Checked, LinkStatus
from swallowtail.cloud.model.presence import Presence
from swallowtail.cloud.model.tenancy import Tenant


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
