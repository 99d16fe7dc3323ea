"""The alarm CERTIFICATE_EXPIRING.

Raised in every organisation while a served certificate, or its authority, ends soon.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import Condition, NewAlarm, Severity
from swallowtail.cloud.model.paging import walk
from swallowtail.cloud.model.ports.operations import Alarms
from swallowtail.cloud.model.ports.tenancy import Organisations

log = structlog.get_logger()

STEPS: Final = ((3, Severity.CRITICAL), (14, Severity.MAJOR), (30, Severity.WARNING))
"""Fewer days than this are left: how soon a person should look."""
_REMEDIES: Final = {
    (
        "server",
        True,
    ): (
        "the Cloud makes it again by itself and has not; look at its log and its clock, then"
        " restart it"
    ),
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
    """Return how bad it is that so much is left; None: not yet."""
    return next((severity for days, severity in STEPS if left < dt.timedelta(days=days)), None)


class CertificateWatch:
    """The certificates that one node serves.

    Its own, and the authorities that are with it in the same file.

    `own` states that the Cloud made them itself (certificates.py).
    """

    def __init__(
        self, *, own: bool, organisations: Organisations, alarms: Alarms, clock: Clock
    ) -> None:
        self._own, self._organisations, self._alarms, self._clock = (
            own,
            organisations,
            alarms,
            clock,
        )
        self._ends: dict[str, dt.datetime] = {}

    def serve(self, path: Path) -> None:
        """Note that handshakes are answered with this file from now on.

        What is renewed but not loaded helps nobody.
        """
        try:
            chain = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            self._ends = {}
            log.warning("certificate end unreadable", error=error)
            return
        self._ends = {"server": chain[0].not_valid_after_utc} | _soonest(chain[1:])

    async def look(self) -> None:
        """Look once."""
        now = self._clock()
        wanted = [
            found
            for subject, end in self._ends.items()
            if (found := self._alarm(subject, end, now)) is not None
        ]
        async for organisation in walk(self._organisations.organisations):
            await self._alarms.keep(
                organisation.id, Condition.CERTIFICATE_EXPIRING, wanted, now=now
            )

    def _alarm(self, subject: str, end: dt.datetime, now: float) -> NewAlarm | None:
        severity = severity_of(end - dt.datetime.fromtimestamp(now, dt.UTC))
        if severity is None:
            return None
        what = "certificate" if subject == "server" else "certificate authority"
        detail = (
            f"the Cloud's {what} ends at {end:%Y-%m-%d %H:%M UTC}, no Link connects after it:"
            f" {_REMEDIES[subject, self._own]}"
        )
        return NewAlarm(
            condition=Condition.CERTIFICATE_EXPIRING,
            subject=subject,
            severity=severity,
            detail=detail,
        )


def _soonest(authorities: Sequence[x509.Certificate]) -> dict[str, dt.datetime]:
    return (
        {"authority": min(each.not_valid_after_utc for each in authorities)} if authorities else {}
    )
