"""Work that a Cloud does at intervals."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from swallowtail.cloud.model.port_errors import StorageUnavailableError

log = structlog.get_logger()

INTERVAL: Final = 15.0


async def run_periodically(
    kind: str, work: Callable[[], Awaitable[None]], *, every: float = INTERVAL
) -> None:
    """Await `work` every so many seconds until cancelled; a failure is logged and ends nothing."""
    while True:
        try:
            await work()
        except StorageUnavailableError:
            log.warning("periodic work deferred", kind=kind)
        except Exception:  # the next time may succeed, and other work has tasks of its own
            log.exception("periodic work failed", kind=kind)
        await asyncio.sleep(every)
