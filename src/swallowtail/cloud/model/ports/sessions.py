"""The port of live sessions: `links` implements it."""

from typing import Protocol

from swallowtail.calls.diagnostics import Checked, LinkStatus
from swallowtail.cloud.model.link_session import LinkSession
from swallowtail.cloud.model.tenancy import Tenant


class Sessions(Protocol):
    """The Links that are connected to this node."""

    def session(self, tenant: Tenant, link: str) -> LinkSession | None:
        """Return the session of a Link on this node, if any."""

    async def ping(self, tenant: Tenant, link: str, size: int) -> float:
        """Send `size` bytes to Link and back at interactive priority; gives the seconds.

        Raises LinkOfflineError.
        """

    async def status(self, tenant: Tenant, link: str) -> LinkStatus:
        """Ask a Link how it is. Raises LinkOfflineError."""

    async def check(self, tenant: Tenant, link: str, destination: str) -> Checked:
        """Request a Link to check a destination of its configuration step by step.

        Raises LinkOfflineError.
        """
