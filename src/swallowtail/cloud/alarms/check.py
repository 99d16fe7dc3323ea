"""The interface of the periodic checks of conditions, and their sources."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar

from swallowtail.cloud.alarms.served_certificates import ServedCertificates
from swallowtail.cloud.auditing.heads import ChainGuard
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.ports.deliveries import Deliveries
from swallowtail.cloud.model.ports.links import Configurations, Links
from swallowtail.cloud.model.ports.operations import Alarms
from swallowtail.cloud.model.ports.sessions import Sessions
from swallowtail.cloud.model.ports.tenancy import Organisations
from swallowtail.cloud.model.tenancy import Tenant

DiskUsage = Callable[[], tuple[int, int]]
"""Returns the bytes of the data folder's disk and how many are free; raises OSError."""


@dataclass(frozen=True, slots=True)
class CheckSources:
    """The sources that checks read."""

    organisations: Organisations
    links: Links
    configuration: Configurations
    configurations: ConfigurationCache
    deliveries: Deliveries
    alarms: Alarms
    sessions: Sessions
    chains: ChainGuard
    certificates: ServedCertificates
    disk_usage: DiskUsage
    clock: Clock


class AlarmCheck(ABC):
    """The periodic check of one condition, on one node."""

    condition: ClassVar[Condition]

    def __init__(self, sources: CheckSources) -> None:
        self.sources = sources

    async def begin(self) -> None:  # noqa: B027 - most checks have nothing to begin
        """Read what is the same for all organisations; called once before them."""

    @abstractmethod
    async def alarms(self, tenant: Tenant, now: float) -> Collection[NewAlarm]:
        """Return the alarms of an organisation that are to be raised now; others are cleared.

        `now` is UTC seconds. Raises StorageUnavailableError; the check is then deferred.
        """

    async def end(self) -> None:  # noqa: B027 - or to conclude
        """Complete a check of all organisations; not called when one of them failed."""
