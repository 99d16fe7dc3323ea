from collections.abc import AsyncIterator

import pytest

from swallowtail.runtime.tasks import Tasks
from tests.unit.cloud.dispatch.stage import Stage


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    await made.populate()
    return made


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks("test") as owner:
        yield owner
