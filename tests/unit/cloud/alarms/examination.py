"""One periodic check of alarms over the records of a test."""

from collections.abc import Callable
from typing import Any

from swallowtail.cloud.alarms.check import AlarmCheck, CheckSources
from swallowtail.cloud.alarms.loop import AlarmLoop
from swallowtail.cloud.alarms.served_certificates import ServedCertificates
from swallowtail.cloud.auditing.heads import ChainGuard
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.records.records import Records
from tests.unit.cloud.web.conftest import Sessions


def sources_of(records: Records, clock: Callable[[], float], **others: Any) -> CheckSources:
    """Create what checks examine; `others` replaces single sources."""
    given = {
        "sessions": Sessions(),
        "chains": ChainGuard(None, audit=records.audit, clock=clock),  # type: ignore[arg-type]
        "certificates": ServedCertificates(),
        "disk_usage": lambda: (1, 1),
    }
    return CheckSources(
        organisations=records.organisations,
        links=records.links,
        configuration=records.configuration,
        configurations=ConfigurationCache(records.links, records.configuration),
        deliveries=records.deliveries,
        alarms=records.alarms,
        clock=clock,
        **(given | others),
    )


def loop_of(
    check: type[AlarmCheck], records: Records, clock: Callable[[], float], **others: Any
) -> AlarmLoop:
    """Create a loop with this check alone."""
    return AlarmLoop(sources_of(records, clock, **others), [check])
