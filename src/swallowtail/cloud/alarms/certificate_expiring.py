"""The periodic check of CERTIFICATE_EXPIRING.

A served certificate, or its authority, ends soon.
"""

import datetime as dt
from collections.abc import Collection
from typing import ClassVar, Final

from swallowtail.cloud.alarms.check import AlarmCheck
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.tenancy import Tenant

STEPS: Final = ((3, Severity.CRITICAL), (14, Severity.MAJOR), (30, Severity.WARNING))
"""With fewer days than this left, the severity."""
_REMEDIES: Final = {
    (
        "server",
        True,
    ): ("the Cloud renews it by itself and has not; check its log and its clock, then restart it"),
    (
        "authority",
        True,
    ): (
        "stop the Cloud, move ca.pem and ca.key elsewhere, start it, give Links and browsers the"
        " new ca.pem"
    ),
    ("server", False): "renew the files of --cert and --key in place",
    (
        "authority",
        False,
    ): (
        "renew the chain in the file of --cert, and give Links the new authority before if it"
        " changes"
    ),
}


def severity_of(left: dt.timedelta) -> Severity | None:
    """Return the severity when this time is left; None when there is no alarm yet."""
    return next((severity for days, severity in STEPS if left < dt.timedelta(days=days)), None)


class CertificateExpiring(AlarmCheck):
    """The certificates that this node serves; the same alarms in every organisation."""

    condition: ClassVar[Condition] = Condition.CERTIFICATE_EXPIRING

    async def alarms(self, tenant: Tenant, now: float) -> Collection[NewAlarm]:
        ends = self.sources.certificates.ends.items()
        found = (self._alarm(subject, end, now) for subject, end in ends)
        return [alarm for alarm in found if alarm is not None]

    def _alarm(self, subject: str, end: dt.datetime, now: float) -> NewAlarm | None:
        severity = severity_of(end - dt.datetime.fromtimestamp(now, dt.UTC))
        if severity is None:
            return None
        what = "certificate" if subject == "server" else "certificate authority"
        detail = (
            f"the Cloud's {what} ends at {end:%Y-%m-%d %H:%M UTC}, no Link connects after it:"
            f" {_REMEDIES[subject, self.sources.certificates.own]}"
        )
        return NewAlarm(
            condition=Condition.CERTIFICATE_EXPIRING,
            subject=subject,
            severity=severity,
            detail=detail,
        )
