"""Audit events in the terms of PS3.15 A.5, and the chain that makes a changed or missing one visible."""

import enum
import hashlib

import msgspec

from swallowtail.cloud.model.tenancy import Tenant, Value


class EventId(enum.StrEnum):
    """PS3.15 A.5.1.1 EventID, as DCM code values (PS3.16 CID 400)."""

    APPLICATION_ACTIVITY = "110100"
    BEGIN_TRANSFERRING = "110102"
    INSTANCES_ACCESSED = "110103"
    INSTANCES_TRANSFERRED = "110104"
    QUERY = "110112"
    SECURITY_ALERT = "110113"
    USER_AUTHENTICATION = "110114"


class EventAction(enum.StrEnum):
    """PS3.15 A.5.1.1 EventActionCode."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class EventOutcome(enum.IntEnum):
    """PS3.15 A.5.1.1 EventOutcomeIndicator."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


class AuditEvent(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What happened, who did it, from where, and to what. The one place besides the store where patient data may stand."""

    event: EventId
    action: EventAction
    outcome: EventOutcome = EventOutcome.SUCCESS
    type: str = ""
    """EventTypeCode: our own word for the act, like `link.rebind`."""
    actor: str
    """UserID of the active participant who asked for it: a principal, or an AE title."""
    role: str = ""
    address: str = ""
    """NetworkAccessPointID."""
    objects: tuple[tuple[str, str], ...] = ()
    """ParticipantObjects as (kind, id): `study`, `instance`, `patient`, `link`, `token` …"""
    detail: str = ""


class AuditRecord(Value, frozen=True, kw_only=True):
    """An event in its place in a tenant's chain; sequences count from 1 without a gap."""

    tenant: Tenant
    sequence: int
    at: float
    event: AuditEvent
    digest: bytes


class ChainVerdict(Value, frozen=True, kw_only=True):
    """Whether the chain holds; `broken_at` is the first sequence that does not fit what stands before it."""

    records: int
    broken_at: int | None = None


GENESIS = bytes(32)
"""What the first record of a chain is linked to."""

_encode = msgspec.msgpack.Encoder().encode


def event_bytes(event: AuditEvent) -> bytes:
    """Give the bytes of an event that are kept and hashed."""
    return _encode(event)


def chain(previous: bytes, tenant: Tenant, sequence: int, at: float, event: bytes) -> bytes:
    """Give the digest of a record: SHA-256 over the previous digest, its place, its time and its event."""
    return hashlib.sha256(previous + _encode((tenant, sequence, at)) + event).digest()
