"""The metrics of the process: stores, and the loop lag.

Amounts only, never a name.
"""

import asyncio
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from swallowtail.calls.store import NotStoredReason, Stored

LAG_EVERY: Final = 0.1
LAG: Final = Histogram(
    "swallowtail_loop_lag_seconds",
    "How late the event loop was",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
)
WORST_LAG: Final = Gauge(
    "swallowtail_loop_lag_worst_seconds", "The latest that the event loop was since the start"
)
STORES: Final = Counter("swallowtail_stores", "Instances stored or refused", ["outcome"])
STORED_BYTES: Final = Counter("swallowtail_stored_bytes", "Bytes of data sets stored")
STORE_SECONDS: Final = Histogram(
    "swallowtail_store_seconds",
    "Seconds from a store's request to its commit",
    buckets=(0.005, 0.02, 0.05, 0.1, 0.5, 2, 10, 60),
)


class StoreMeter:
    """Counts stores (ingest.store.Meter)."""

    def stored(self, stored: Stored, length: int, seconds: float) -> None:
        """Count a commit."""
        STORES.labels(stored.value).inc()
        STORED_BYTES.inc(length)
        STORE_SECONDS.observe(seconds)

    def refused(self, reason: NotStoredReason) -> None:
        """Count a refusal."""
        STORES.labels(reason.value).inc()


async def measure_lag() -> None:
    """Measure how late the loop is, for ever."""
    loop = asyncio.get_running_loop()
    worst = 0.0
    while True:
        due = loop.time() + LAG_EVERY
        await asyncio.sleep(LAG_EVERY)
        lag = max(0.0, loop.time() - due)
        LAG.observe(lag)
        if lag > worst:
            worst = lag
            WORST_LAG.set(worst)
