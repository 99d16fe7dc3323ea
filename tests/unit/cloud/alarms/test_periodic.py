"""Looks that go on whatever happens to one of them."""

import asyncio

from structlog.testing import capture_logs

from swallowtail.cloud.alarms.periodic import run_periodically
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.runtime.tasks import Tasks


async def test_a_look_that_fails_is_followed_by_others(logged_errors: list[str]) -> None:
    looks, enough = 0, asyncio.Event()
    failures: dict[int, Exception] = {1: StorageUnavailableError(), 2: ZeroDivisionError()}

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 4:
            enough.set()
        if looks in failures:
            raise failures[looks]

    with capture_logs() as logs:
        async with Tasks("test") as tasks:
            tasks.spawn(run_periodically("tests", look, every=0.001), name="rounds")
            async with asyncio.timeout(5):
                await enough.wait()
    assert [(one["log_level"], one["kind"]) for one in logs] == [
        ("warning", "tests"),
        ("error", "tests"),
    ]
