"""The periodic checks of alarms, one for a condition.

The other conditions of CONDITIONS are raised and cleared with the change that causes and ends them.
"""

from collections.abc import Mapping
from typing import Final

from swallowtail.cloud.alarms.audit_broken import AuditBroken
from swallowtail.cloud.alarms.certificate_expiring import CertificateExpiring
from swallowtail.cloud.alarms.check import AlarmCheck
from swallowtail.cloud.alarms.disk_low import DiskLow
from swallowtail.cloud.alarms.link_offline import LinkOffline
from swallowtail.cloud.alarms.queue_old import QueueOld
from swallowtail.cloud.alarms.unknown_device import UnknownDevices
from swallowtail.cloud.model.conditions import Condition

CHECKS: Final[Mapping[Condition, type[AlarmCheck]]] = {
    check.condition: check
    for check in (
        LinkOffline,
        QueueOld,
        UnknownDevices,
        DiskLow,
        CertificateExpiring,
        AuditBroken,
    )
}
