"""Syslog messages (RFC 5424) in frames of the TLS transport (RFC 5425 4.3).

As PS3.15 A.6 asks for.
"""

import re
from typing import Final

from swallowtail.cloud.audit_export.message import AuditSource, encode, moment
from swallowtail.cloud.model.audit import AuditRecord, EventOutcome

FACILITY: Final = 10
"""Security and authorization messages (PS3.15 A.6)."""
SEVERITIES: Final = {
    EventOutcome.SUCCESS: 5,
    EventOutcome.MINOR_FAILURE: 4,
    EventOutcome.SERIOUS_FAILURE: 3,
    EventOutcome.MAJOR_FAILURE: 2,
}
MESSAGE_ID: Final = "DICOM+RFC3881"
APPLICATION: Final = "swallowtail"
BOM: Final = b"\xef\xbb\xbf"
"""States that the message is UTF-8 (RFC 5424 6.4)."""
_HOST_LENGTH: Final = 255
_NOT_PRINTABLE: Final = re.compile(r"[^\x21-\x7e]")


def frame(record: AuditRecord, source: AuditSource, process: int) -> bytes:
    """Return a record as one frame: the length of the message in octets, a space, the message."""
    priority = FACILITY * 8 + SEVERITIES[record.event.outcome]
    host = _NOT_PRINTABLE.sub("-", source.id)[:_HOST_LENGTH] or "-"
    header = f"<{priority}>1 {moment(record.at)} {host} {APPLICATION} {process} {MESSAGE_ID} - "
    message = header.encode() + BOM + encode(record, source)
    return b"%d %s" % (len(message), message)
