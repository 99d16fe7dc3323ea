"""A study of thousands of instances is queued in parts, so that stores are committed in between."""

from collections.abc import Sequence
from typing import Any

import pytest

from swallowtail.cloud.dispatch import queues
from swallowtail.cloud.dispatch.queues import Queues
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.model.delivery import NewDelivery
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from tests.conformance.invented import EVENT, NORTH
from tests.unit.cloud.dispatch.stage import PACS, Stage

UIDS = ["1.1", "1.2", "1.3", "1.4", "1.5"]


async def test_what_a_failure_leaves_out_is_queued_by_the_next_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queues, "AT_ONCE", 2)
    stage = Stage()
    await stage.populate()
    for uid in UIDS:
        await stage.instance(uid)
    records = stage.records
    add, parts = records.deliveries.add, []

    async def failing(tenant: Tenant, deliveries: Sequence[NewDelivery], **more: Any) -> int:
        if len(parts) == 1:
            parts.append(0)
            raise StorageUnavailableError("the disk is full")
        parts.append(len(deliveries))
        return await add(tenant, deliveries, **more)

    monkeypatch.setattr(records.deliveries, "add", failing)
    sites = ConfigurationCache(records.links, records.configuration)
    organisations = Queues(
        deliveries=records.deliveries,
        instances=records.instances,
        links=records.links,
        sites=sites,
        bus=stage.bus,
        clock=lambda: stage.now,
    )
    with pytest.raises(StorageUnavailableError):
        await organisations.send(NORTH, "1.2.1", PACS, request="r1", event=EVENT)
    assert await organisations.send(NORTH, "1.2.1", PACS, request="r1", event=EVENT) == 3
    assert parts == [2, 0, 2, 2, 1]
    assert [one.payload.identifier for one in await stage.deliveries()] == UIDS
