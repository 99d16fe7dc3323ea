"""Letting a real event loop run without waiting for time to pass."""

import asyncio


async def turns(count: int = 200) -> None:
    """Let the loop run `count` turns.

    Whatever is ready, or becomes ready without a timer or a thread, has run by then. For showing
    that something does not happen.
    """
    for _ in range(count):
        await asyncio.sleep(0)
