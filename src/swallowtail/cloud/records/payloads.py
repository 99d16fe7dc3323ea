"""The rows that deliveries refer to, by payload kind.

A kind is registered in SOURCES with the statement that finds its row. Everything else that the
queues do is the same for every kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, select

from swallowtail.cloud.model.audit import EventId
from swallowtail.cloud.model.delivery import INSTANCE, Payload
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.prepared import Prepared

FIELDS: Final = ("facility", "parent", "identifier", "type", "format")
"""Columns of `find`, in this order (`model.delivery.Payload`)."""


@dataclass(frozen=True, slots=True)
class PayloadSource:
    """The records' interface to one kind of payload."""

    find: Prepared
    """Selects FIELDS of the row `reference` of `tenant`."""
    transferred: EventId
    """The audit event of a delivery that has ended."""
    deleted: str
    """The reason why a delivery whose row was deleted is skipped, and what to do."""


Sources = Mapping[str, PayloadSource]

_instance = schema.instance
INSTANCES: Final = PayloadSource(
    find=Prepared(
        select(
            _instance.c.facility,
            _instance.c.study.label("parent"),
            _instance.c.sop_instance.label("identifier"),
            _instance.c.sop_class.label("type"),
            _instance.c.transfer_syntax.label("format"),
        ).where(_instance.c.tenant == bindparam("tenant"), _instance.c.id == bindparam("reference"))
    ),
    transferred=EventId.INSTANCES_TRANSFERRED,
    deleted="the instance was deleted; restore it and resend, or have it sent to the Cloud again",
)
SOURCES: Final[Sources] = {INSTANCE: INSTANCES}


def find(
    connection: Connection, sources: Sources, tenant: Tenant, kind: str, reference: int
) -> Payload | None:
    """Return what a delivery refers to, None when the row does not exist."""
    rows = sources[kind].find.rows(connection, {"tenant": tenant, "reference": reference})
    if not rows:
        return None
    return Payload(kind=kind, reference=reference, **dict(zip(FIELDS, rows[0], strict=True)))
