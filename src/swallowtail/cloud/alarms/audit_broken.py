"""The periodic check of AUDIT_BROKEN."""

from collections.abc import Collection
from typing import ClassVar

from swallowtail.cloud.alarms.check import AlarmCheck
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.tenancy import Tenant


class AuditBroken(AlarmCheck):
    """The result of the last comparison of the audit chains with their exported heads."""

    condition: ClassVar[Condition] = Condition.AUDIT_BROKEN

    async def alarms(self, tenant: Tenant, now: float) -> Collection[NewAlarm]:
        return self.sources.chains.alarms(tenant)
