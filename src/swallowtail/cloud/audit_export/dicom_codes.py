"""Codes of audit messages.

What the standard names, and our own words under a designator of our own.
"""

from typing import Final, NamedTuple

from swallowtail.cloud.model.audit import AuditEvent, EventId

DCM: Final = "DCM"
RFC_3881: Final = "RFC-3881"
OWN: Final = "99SWALLOWTAIL"
"""Coding Scheme Designator of a private scheme (PS3.16 8)."""


class Code(NamedTuple):
    """A coded value (PS3.15 A.5.1, CodedValueType)."""

    value: str
    scheme: str
    meaning: str


EVENTS: Final = {
    EventId.APPLICATION_ACTIVITY: "Application Activity",
    EventId.BEGIN_TRANSFERRING: "Begin Transferring DICOM Instances",
    EventId.INSTANCES_ACCESSED: "DICOM Instances Accessed",
    EventId.INSTANCES_TRANSFERRED: "DICOM Instances Transferred",
    EventId.STUDY_DELETED: "DICOM Study Deleted",
    EventId.QUERY: "Query",
    EventId.SECURITY_ALERT: "Security Alert",
    EventId.USER_AUTHENTICATION: "User Authentication",
}
"""PS3.16 CID 400."""

APPLICATION: Final = Code("110150", DCM, "Application")
DESTINATION: Final = Code("110152", DCM, "Destination Role ID")
SOURCE: Final = Code("110153", DCM, "Source Role ID")

LOGIN: Final = Code("110122", DCM, "Login")
NODE_AUTHENTICATION: Final = Code("110126", DCM, "Node Authentication")
SECURITY_CONFIGURATION: Final = Code("110129", DCM, "Security Configuration")
USER_SECURITY: Final = Code("110137", DCM, "User security Attributes Changed")

_ALERTS: Final = (
    ("association.rejected", NODE_AUTHENTICATION),
    ("token.", USER_SECURITY),
    ("", SECURITY_CONFIGURATION),
)
"""PS3.16 CID 403 by how our own word for the act begins."""


class ObjectKind(NamedTuple):
    """The description of an object of an event.

    Its code of identifier, ParticipantObjectTypeCode and …TypeCodeRole.
    """

    identifier: Code
    kind: str
    role: str


PERSON: Final = "1"
SYSTEM: Final = "2"
ORGANISATION: Final = "3"
SECURITY_RESOURCE: Final = "13"

_KINDS: Final = {
    "study": ObjectKind(Code("110180", DCM, "Study Instance UID"), SYSTEM, "3"),
    "patient": ObjectKind(Code("2", RFC_3881, "Patient Number"), PERSON, "1"),
    "series": ObjectKind(Code("series", OWN, "Series Instance UID"), SYSTEM, "3"),
    "instance": ObjectKind(Code("instance", OWN, "SOP Instance UID"), SYSTEM, "3"),
    "query": ObjectKind(Code("10", RFC_3881, "Search Criteria"), SYSTEM, "24"),
    "destination": ObjectKind(Code("destination", OWN, "Destination"), SYSTEM, "16"),
    "organisation": ObjectKind(Code("organisation", OWN, "Organisation"), ORGANISATION, "2"),
    "facility": ObjectKind(Code("facility", OWN, "Facility"), ORGANISATION, "2"),
}

AUDIT_LOG: Final = ObjectKind(Code("12", RFC_3881, "URI"), SYSTEM, SECURITY_RESOURCE)
"""PS3.15 A.5.3.2: the identity of the audit log."""


def kind_of(name: str) -> ObjectKind:
    """Return how an object of this kind of ours is described.

    What the standard does not name is a security resource.
    """
    return _KINDS.get(name) or ObjectKind(
        Code(name, OWN, name.replace("-", " ").capitalize()), SYSTEM, SECURITY_RESOURCE
    )


def types_of(event: AuditEvent) -> list[Code]:
    """Return the EventTypeCodes.

    The standard's where the event asks for one (PS3.15 A.5.3.11, A.5.3.12), then our own word.
    """
    found: list[Code] = []
    if event.event is EventId.USER_AUTHENTICATION:
        found.append(LOGIN)
    elif event.event is EventId.SECURITY_ALERT:
        found.append(next(code for start, code in _ALERTS if event.type.startswith(start)))
    if event.type:
        found.append(Code(event.type, OWN, event.type.replace(".", " ")))
    return found
