"""The alarm DISK_LOW.

Raised in every organisation while the disk of the data folder is nearly full, before stores are
refused.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Gauge

from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import Condition, NewAlarm, Severity
from swallowtail.cloud.model.paging import walk
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.ports.operations import Alarms
from swallowtail.cloud.model.ports.tenancy import Organisations

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

Usage = Callable[[], tuple[int, int]]
"""Gives the bytes of the disk and how many of them are free; raises OSError."""


def low_mark(size: int) -> float:
    """Return the free bytes below which a disk of this size is low."""
    return min(size * LOW_PART, LOW_BYTES)


class DiskWatch:
    """The disk of one node."""

    def __init__(
        self, usage: Usage, *, organisations: Organisations, alarms: Alarms, clock: Clock
    ) -> None:
        self._usage, self._organisations, self._alarms, self._clock = (
            usage,
            organisations,
            alarms,
            clock,
        )
        self._low = False

    async def look(self) -> None:
        """Look once."""
        try:
            size, free = await asyncio.to_thread(
                self._usage
            )  # a disk that hangs must not hang the loop
        except OSError as error:
            raise StorageUnavailableError("the data folder cannot be looked at") from error
        FREE.set(free)
        SIZE.set(size)
        mark = low_mark(size)
        self._low = free < mark * (ENOUGH if self._low else 1.0)
        wanted = [_alarm(size, free)] if self._low else []
        async for organisation in walk(self._organisations.organisations):
            await self._alarms.keep(organisation.id, Condition.DISK_LOW, wanted, now=self._clock())


def _alarm(size: int, free: int) -> NewAlarm:
    detail = (
        f"{free / GIB:.1f} of {size / GIB:.1f} GiB are free for the Cloud's data; make space before"
        " stores are refused"
    )
    return NewAlarm(
        condition=Condition.DISK_LOW, subject=_SUBJECT, severity=Severity.MAJOR, detail=detail
    )
