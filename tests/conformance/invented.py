"""Invented things for the conformance suites.

Organisations, Links, instances of patients who do not exist.
"""

import hashlib
from datetime import date

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.imaging import Arrival, InstanceIdentity, Origin, Series, Study
from swallowtail.cloud.model.indexing import BulkValue, FrameIndex, Indexed
from swallowtail.cloud.model.tenancy import Facility, Link, Organisation, SecurityCode, Tenant
from swallowtail.cloud.records.records import Records

NORTH = Tenant("north")
SOUTH = Tenant("south")
NOW = 1_800_000_000.0
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
US = "1.2.840.10008.5.1.4.1.1.6.1"
VALUES = {"54000100.1.54001010": BulkValue(spans=(200, 30, 240, 10), encapsulated=True)}
EVENT = AuditEvent(
    event=EventId.APPLICATION_ACTIVITY, action=EventAction.UPDATE, type="test", actor="invented"
)


def digest(text: str) -> bytes:
    """32 bytes that stand for `text`."""
    return hashlib.sha256(text.encode()).digest()


def link(name: str = "ward", facility: str = "clinic") -> Link:
    """A Link with the id and the name `name`."""
    return Link(id=name, facility=facility, name=name, created=NOW)


async def tenants(records: Records) -> None:
    """Make both organisations, with one facility each."""
    for tenant in (NORTH, SOUTH):
        await records.organisations.add_organisation(
            Organisation(id=tenant, name=tenant, created=NOW), now=NOW, event=EVENT
        )
        clinic = Facility(id="clinic", name="clinic", time_zone="Europe/Zurich")
        await records.organisations.put_facility(tenant, clinic, now=NOW, event=EVENT)


async def admitted_link(
    records: Records, tenant: Tenant = NORTH, name: str = "ward", facility: str = "clinic"
) -> int:
    """Make the tenants if needed and a Link that has a session; gives its epoch."""
    code = SecurityCode(digest=digest(f"{tenant}/{name}"), until=NOW + 60)
    await records.links.add(tenant, link(name, facility), code, now=NOW, event=EVENT)
    admission = await records.links.admit(code.digest, b"k" * 32, address="192.0.2.9", now=NOW)
    return admission.link.epoch


def arrival(
    uid: str = "1.2.3",
    content: str = "pixels",
    *,
    syntax: str = EXPLICIT,
    epoch: int = 1,
    link: str | None = "ward",
    facility: str = "",
) -> Arrival:
    """An instance whose blob is durable."""
    return Arrival(
        identity=InstanceIdentity(sop_instance=uid, transfer_syntax=syntax, sha256=digest(content)),
        sop_class=US,
        length=len(content),
        origin=Origin(
            link=link,
            epoch=epoch,
            facility=facility,
            calling_ae="SONO1",
            peer="192.0.2.20",
            association=b"a" * 16,
        ),
    )


def indexed(
    instance: int,
    *,
    tenant: Tenant = NORTH,
    study: str = "1.2.1",
    series: str = "1.2.1.1",
    modality: str = "US",
    name: str = "Heron^Ada",
    **more: object,
) -> Indexed:
    """What a data set says."""
    attributes = {
        "uid": study,
        "patient_name": name,
        "patient_id": "H-1",
        "accession": "A1",
        "description": "Abdomen",
        "study_date": date(2026, 3, 1),
    }
    return Indexed(
        tenant=tenant,
        instance=instance,
        study=Study(**(attributes | more)),
        series=Series(study=study, uid=series, modality=modality, description="Liver"),
        number=1,
        rows=240,
        columns=320,
        frame_count=2,
        frames=FrameIndex(spans=((100, 20), (128, 30)), encapsulated=True, values=VALUES),
        document=b"compressed json",
    )
