"""The audit chain's statements: extend it, inside a batch's transaction."""

from sqlalchemy import Connection, bindparam, insert, select, update

from swallowtail.cloud.model.audit import GENESIS, AuditEvent, chain, event_bytes
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records.schema import audit, audit_head

ChainEntry = tuple[Tenant, float, AuditEvent]

HEAD = select(audit_head.c.sequence, audit_head.c.digest).where(audit_head.c.tenant == bindparam("tenant"))
ADD = insert(audit)
BEGIN = insert(audit_head)
MOVE = (
    update(audit_head)
    .where(audit_head.c.tenant == bindparam("of"))
    .values(sequence=bindparam("sequence"), digest=bindparam("digest"))
)


def extend(connection: Connection, entries: list[ChainEntry]) -> None:
    """Append the entries to their tenants' chains, in order."""
    by_tenant: dict[Tenant, list[tuple[float, AuditEvent]]] = {}
    for tenant, at, event in entries:
        by_tenant.setdefault(tenant, []).append((at, event))
    for tenant, events in by_tenant.items():
        _extend_one(connection, tenant, events)


def _extend_one(connection: Connection, tenant: Tenant, events: list[tuple[float, AuditEvent]]) -> None:
    head = connection.execute(HEAD, {"tenant": tenant}).first()
    sequence, digest = (0, GENESIS) if head is None else (head.sequence, head.digest)
    rows = []
    for at, event in events:
        sequence += 1
        encoded = event_bytes(event)
        digest = chain(digest, tenant, sequence, at, encoded)
        rows.append({"tenant": tenant, "sequence": sequence, "at": at, "event": encoded, "digest": digest})
    connection.execute(ADD, rows)
    if head is None:
        connection.execute(BEGIN, {"tenant": tenant, "sequence": sequence, "digest": digest})
    else:
        connection.execute(MOVE, {"of": tenant, "sequence": sequence, "digest": digest})
