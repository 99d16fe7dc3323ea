"""Looking now and again at what nothing reports.

Each periodic check on its own, so that one that fails stops no other.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from swallowtail.cloud.model.port_errors import StorageUnavailableError

log = structlog.get_logger()

LOOK_EVERY: Final = 15.0


async def rounds(
    kind: str, look: Callable[[], Awaitable[None]], *, every: float = LOOK_EVERY
) -> None:
    """Look every so many seconds until cancelled."""
    while True:
        try:
            await look()
        except StorageUnavailableError:
            log.warning("periodic check deferred", kind=kind)
        except Exception:  # a fault of ours in one periodic check must not end all that come
            log.exception("periodic check failed", kind=kind)
        await asyncio.sleep(every)
