"""The port of live sessions: `links` implements it."""

from collections.abc import Mapping
from typing import Protocol

from swallowtail.calls.diagnostics import Checked, LinkStatus
from swallowtail.cloud.model.link_session import LinkSession
from swallowtail.cloud.model.tenancy import Tenant


class Sessions(Protocol):
    """The Links that are connected to this node."""

    def session(self, tenant: Tenant, link: str) -> LinkSession | None:
        """Give the live session of a Link; None when it has none here."""

    def connected(self) -> Mapping[tuple[Tenant, str], LinkSession]:
        """Give all live sessions."""

    async def ping(self, tenant: Tenant, link: str, size: int) -> float:
        """Send `size` bytes to Link and back at interactive priority; gives the seconds.

        Raises LinkOfflineError.
        """

    async def status(self, tenant: Tenant, link: str) -> LinkStatus:
        """Ask a Link how it is. Raises LinkOfflineError."""

    async def check(self, tenant: Tenant, link: str, destination: str) -> Checked:
        """Have a Link try a destination of its running configuration step by step.

        Raises LinkOfflineError.
        """
