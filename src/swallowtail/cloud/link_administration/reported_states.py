"""The reports of Links: the state of their sessions and endpoints, unknown devices."""

from collections.abc import Sequence
from typing import Any

import msgspec

from swallowtail.cloud.model.operations import Running, UnknownDevice
from swallowtail.cloud.model.ports.links import Configurations
from swallowtail.cloud.model.tenancy import Tenant


class ReportedStates:
    """Records what Links report."""

    def __init__(self, configuration: Configurations) -> None:
        self._configuration = configuration

    async def record(self, tenant: Tenant, reported: Running) -> None:
        """Record the state of a Link; a report of an older epoch is ignored."""
        await self._configuration.note_running(tenant, reported)

    async def change(self, tenant: Tenant, reported: Running, **values: Any) -> None:
        """Change some fields of what is recorded of a Link, unless a newer session has begun.

        `reported` is recorded, with these fields, where nothing was before; its `seen` always is.
        """
        link = reported.link
        known = (await self._configuration.running(tenant, [link])).get(link, reported)
        if known.epoch <= reported.epoch:
            changed = msgspec.structs.replace(known, seen=reported.seen, **values)
            await self._configuration.note_running(tenant, changed)

    async def record_unknown(self, tenant: Tenant, devices: Sequence[UnknownDevice]) -> None:
        """Add to the counts of unknown devices."""
        await self._configuration.note_unknown(tenant, devices)
