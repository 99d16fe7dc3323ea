"""A certificate that ends soon.

Alarmed in every organisation, worse as it comes nearer, cleared when a renewed one is served.
"""

import datetime as dt
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from swallowtail.cloud.alarms.certificate_expiring import STEPS, CertificateExpiring, severity_of
from swallowtail.cloud.alarms.served_certificates import ServedCertificates
from swallowtail.cloud.data_folder.certificates import CA_DAYS, LEAF_DAYS, RENEW_DAYS
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.operations import Alarm, AlarmSearch
from swallowtail.cloud.records.records import Records
from tests.certificates import ensure_certificate
from tests.conformance.invented import NORTH, SOUTH, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase
from tests.unit.cloud.alarms.examination import loop_of

MADE = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


class Watched:
    """A watch on a Cloud's own certificate, and a clock."""

    def __init__(self, records: Records, *, own: bool = True) -> None:
        self.records, self.now = records, MADE
        self.own, self.certificates = own, ServedCertificates()
        self.loop = loop_of(
            CertificateExpiring, records, self.clock, certificates=self.certificates
        )

    def serve(self, path: Path) -> None:
        self.certificates.register(path, own=self.own)

    def clock(self) -> float:
        return self.now.timestamp()

    async def seen(self, now: dt.datetime) -> list[tuple[str, Severity, int]]:
        self.now = now
        await self.loop.examine()
        found = [
            [(one.subject, one.severity, one.count) for one in await self.alarms(tenant)]
            for tenant in (NORTH, SOUTH)
        ]
        assert found[0] == found[1]
        return found[0]

    async def alarms(self, tenant: str = NORTH, *, cleared: bool = False) -> list[Alarm]:
        search = AlarmSearch(cleared=None if cleared else False)
        found = (await self.records.alarms.alarms(tenant, search=search)).items
        assert {one.condition for one in found} <= {Condition.CERTIFICATE_EXPIRING}
        return list(found)


@pytest.fixture
async def watched() -> Watched:
    records = Records(MemoryDatabase(CommittedRows()))
    await tenants(records)
    return Watched(records)


@pytest.mark.parametrize(
    ("days", "severity"),
    [
        (30, None),
        (29.9, Severity.WARNING),
        (14, Severity.WARNING),
        (13.9, Severity.MAJOR),
        (3, Severity.MAJOR),
        (2.9, Severity.CRITICAL),
        (-400, Severity.CRITICAL),
    ],
)
def test_what_is_left_says_how_soon_a_person_should_look(
    days: float, severity: Severity | None
) -> None:
    assert severity_of(dt.timedelta(days=days)) is severity


def test_a_cloud_renews_its_own_certificate_before_somebody_is_alarmed() -> None:
    assert max(days for days, _ in STEPS) < RENEW_DAYS


async def test_the_alarm_is_edge_triggered_gets_worse_and_clears_when_a_renewed_one_is_served(
    watched: Watched, tmp_path: Path
) -> None:
    leaf, *_ = ensure_certificate(tmp_path, ["localhost"], MADE)
    watched.serve(leaf)
    end = MADE + LEAF_DAYS * DAY
    assert await watched.seen(end - 30 * DAY) == []
    assert await watched.seen(end - 29 * DAY) == [("server", Severity.WARNING, 1)]
    assert await watched.seen(end - 20 * DAY) == [("server", Severity.WARNING, 1)]
    assert await watched.seen(end - 13 * DAY) == [("server", Severity.MAJOR, 2)]
    assert await watched.seen(end - 2 * DAY) == [("server", Severity.CRITICAL, 3)]
    assert await watched.seen(end + DAY) == [("server", Severity.CRITICAL, 3)]
    (alarm,) = await watched.alarms()
    assert f"{end:%Y-%m-%d %H:%M}" in alarm.detail
    assert "its log and its clock" in alarm.detail
    ensure_certificate(tmp_path, ["localhost"], end + DAY)
    assert await watched.seen(end + DAY) == [
        ("server", Severity.CRITICAL, 3)
    ]  # made, but not served yet
    watched.serve(leaf)
    assert await watched.seen(end + DAY) == []
    (alarm,) = await watched.alarms(cleared=True)
    assert alarm.cleared == (end + DAY).timestamp()


async def test_another_process_goes_on_where_the_last_one_ended(
    watched: Watched, tmp_path: Path
) -> None:
    leaf, *_ = ensure_certificate(tmp_path, ["localhost"], MADE)
    end = MADE + LEAF_DAYS * DAY
    watched.serve(leaf)
    await watched.seen(end - 20 * DAY)
    again = Watched(watched.records)
    again.serve(leaf)
    assert await again.seen(end - 19 * DAY) == [("server", Severity.WARNING, 1)]
    assert await again.seen(end - 2 * DAY) == [("server", Severity.CRITICAL, 2)]


async def test_the_clouds_own_authority_has_an_alarm_of_its_own(
    watched: Watched, tmp_path: Path
) -> None:
    ensure_certificate(tmp_path, ["localhost"], MADE)
    end = MADE + CA_DAYS * DAY
    leaf, *_ = ensure_certificate(tmp_path, ["localhost"], end - 20 * DAY)
    watched.serve(leaf)
    assert await watched.seen(end - 20 * DAY) == [("authority", Severity.WARNING, 1)]
    (alarm,) = await watched.alarms()
    assert "move ca.pem and ca.key elsewhere" in alarm.detail


async def test_who_owns_the_certificate_is_told_to_renew_the_files(
    watched: Watched, tmp_path: Path
) -> None:
    leaf, *_ = ensure_certificate(tmp_path, ["localhost"], MADE)
    theirs = Watched(watched.records, own=False)
    theirs.serve(leaf)
    await theirs.seen(MADE + 89 * DAY)
    (alarm,) = await theirs.alarms()
    assert "renew the files of --cert and --key" in alarm.detail


async def test_a_file_whose_end_cannot_be_read_is_said_and_alarms_nobody(
    watched: Watched, tmp_path: Path
) -> None:
    (tmp_path / "odd.pem").write_text("no certificate")
    with capture_logs() as logs:
        watched.serve(tmp_path / "odd.pem")
    assert logs[0]["event"] == "certificate end unreadable"
    assert await watched.seen(MADE) == []
