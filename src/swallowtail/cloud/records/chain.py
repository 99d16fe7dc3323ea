"""The audit chain's statements: extend it, inside a batch's transaction."""

from sqlalchemy import Connection, bindparam, insert, select, update

from swallowtail.cloud.model.audit import GENESIS, AuditEvent, AuditKeys, event_bytes
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import scopes
from swallowtail.cloud.records.prepared import Prepared
from swallowtail.cloud.records.schema import audit, audit_head, audit_object

ChainEntry = tuple[Tenant, float, AuditEvent]

HEAD = Prepared(
    select(audit_head.c.sequence, audit_head.c.digest).where(
        audit_head.c.tenant == bindparam("tenant")
    )
)
ADD = Prepared(insert(audit))
ADD_OBJECT = Prepared(insert(audit_object))
BEGIN = Prepared(insert(audit_head))
MOVE = Prepared(
    update(audit_head)
    .where(audit_head.c.tenant == bindparam("of"))
    .values(sequence=bindparam("sequence"), digest=bindparam("digest"))
)


def head(connection: Connection, tenant: Tenant) -> tuple[int, bytes]:
    """Return the sequence and digest of a chain's last record."""
    for sequence, digest in HEAD.rows(connection, {"tenant": tenant}):
        return sequence, digest
    return 0, GENESIS


def extend(connection: Connection, entries: list[ChainEntry], keys: AuditKeys) -> None:
    """Append the entries to their tenants' chains, in order, authenticated with the newest key."""
    by_tenant: dict[Tenant, list[tuple[float, AuditEvent]]] = {}
    for tenant, at, event in entries:
        by_tenant.setdefault(tenant, []).append((at, event))
    for tenant, events in sorted(by_tenant.items(), reverse=True):  # the operator's last: one order
        scopes.continue_in(connection, tenant)
        _extend_one(connection, tenant, events, keys)


def _extend_one(
    connection: Connection, tenant: Tenant, events: list[tuple[float, AuditEvent]], keys: AuditKeys
) -> None:
    sequence, digest = head(connection, tenant)
    begins, key = sequence == 0, keys.current
    rows, objects = [], []
    for at, event in events:
        sequence += 1
        encoded = event_bytes(event)
        digest = keys.digest(key, digest, (tenant, sequence, at), encoded)
        place = {"tenant": tenant, "sequence": sequence, "at": at}
        found_by = {"type": event.type, "actor": event.actor, "outcome": int(event.outcome)}
        rows.append({**place, **found_by, "event": encoded, "digest": digest, "key": key})
        objects += [{**place, "object": name} for name in event.object_ids]
    ADD.run(connection, *rows)
    ADD_OBJECT.run(connection, *objects)
    (BEGIN if begins else MOVE).run(
        connection, {"tenant": tenant, "of": tenant, "sequence": sequence, "digest": digest}
    )
