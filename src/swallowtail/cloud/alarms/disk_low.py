"""The periodic check of DISK_LOW: the disk of the data folder is nearly full.

The alarm is raised in every organisation, before stores are refused.
"""

import asyncio
from collections.abc import Collection
from typing import ClassVar, Final

import structlog
from prometheus_client import Gauge

from swallowtail.cloud.alarms.check import AlarmCheck, CheckSources
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant

log = structlog.get_logger()

GIB: Final = 1024**3
LOW_PART: Final = 0.1
LOW_BYTES: Final = 20 * GIB
"""Low is less than a tenth of the disk, or than this on a large one."""
ENOUGH: Final = 1.25
"""Times what is low, free space is enough again.

A disk at the limit must not raise and clear with every store.
"""
_SUBJECT: Final = "disk"

FREE: Final = Gauge("swallowtail_disk_free_bytes", "Bytes that are free for the data folder")
SIZE: Final = Gauge("swallowtail_disk_size_bytes", "Bytes of the data folder's disk")


def low_mark(size: int) -> float:
    """Return the free bytes below which a disk of this size is low."""
    return min(size * LOW_PART, LOW_BYTES)


class DiskLow(AlarmCheck):
    """The free space of one node's disk."""

    condition: ClassVar[Condition] = Condition.DISK_LOW

    def __init__(self, sources: CheckSources) -> None:
        super().__init__(sources)
        self._raised: tuple[NewAlarm, ...] = ()

    async def begin(self) -> None:
        try:  # in a thread: a disk that does not respond must not hold the loop
            size, free = await asyncio.to_thread(self.sources.disk_usage)
        except OSError as error:
            raise StorageUnavailableError(
                "the disk of the data folder cannot be examined"
            ) from error
        FREE.set(free)
        SIZE.set(size)
        low = free < low_mark(size) * (ENOUGH if self._raised else 1.0)
        self._raised = (_alarm(size, free),) if low else ()

    async def alarms(self, tenant: Tenant, now: float) -> Collection[NewAlarm]:
        return self._raised


def _alarm(size: int, free: int) -> NewAlarm:
    detail = (
        f"{free / GIB:.1f} of {size / GIB:.1f} GiB are free for the Cloud's data; make space before"
        " stores are refused"
    )
    return NewAlarm(
        condition=Condition.DISK_LOW, subject=_SUBJECT, severity=Severity.MAJOR, detail=detail
    )
