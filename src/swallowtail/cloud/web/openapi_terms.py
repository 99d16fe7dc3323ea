"""Descriptions of names that mean the same wherever they occur in the OpenAPI document.

A field or parameter has one of these where it has no description of its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

TEXTS: Final[Mapping[str, str]] = {
    "accession": "Accession Number (0008,0050).",
    "actor": "The token's id, or the AE title of a device.",
    "address": "An IP address or a host name.",
    "archive": "The archive's id.",
    "archive_id": "The archive's id.",
    "author": "The id of the token that made it.",
    "called_ae": "Called AE title.",
    "calling_ae": "Calling AE title.",
    "comment": "A note for the history; no patient data.",
    "delivery_id": "The delivery's id.",
    "deletion_id": "The deletion's id.",
    "deleted_by": "The id of the token that deleted it.",
    "description": "Study Description (0008,1030) or Series Description (0008,103E).",
    "destination": "The destination's id: the Link's id, a colon and the name.",
    "destination_id": "The destination's id: the Link's id, a colon and the name.",
    "device": "The device's name in the Link's configuration.",
    "digest": "Hexadecimal digest of the record and all before it.",
    "facility": "The facility's id.",
    "facility_id": "The facility's id.",
    "issuer": "Issuer of Patient ID (0010,0021).",
    "link": "The Link's id.",
    "link_id": "The Link's id.",
    "listener": "The listener's name in the Link's configuration.",
    "locked_by": "The id of the token that set the lock.",
    "modality": "Modality (0008,0060).",
    "next": "The cursor of the next page; null: this is the last.",
    "organisation_id": "The organisation's id.",
    "patient_id": "Patient ID (0010,0020).",
    "patient_name": "Patient's Name (0010,0010).",
    "paused_by": "The id of the token that paused it.",
    "referring_physician": "Referring Physician's Name (0008,0090).",
    "request": "A key of the request, so that repeating it queues nothing twice.",
    "rule_id": "The rule's id.",
    "series": "Series Instance UID (0020,000E).",
    "series_uid": "Series Instance UID (0020,000E).",
    "sex": "Patient's Sex (0010,0040).",
    "sha256": "SHA-256 of the data set as received, in hexadecimal.",
    "sop_class": "SOP Class UID (0008,0016).",
    "sop_instance": "SOP Instance UID (0008,0018).",
    "sop_instance_uid": "SOP Instance UID (0008,0018).",
    "study": "Study Instance UID (0020,000D).",
    "study_id": "Study ID (0020,0010).",
    "study_uid": "Study Instance UID (0020,000D).",
    "time_zone": "An IANA time zone, like Europe/Berlin.",
    "title": "A name for people.",
    "token_id": "The token's id.",
    "transfer_syntax": "Transfer Syntax UID.",
}
"""Of texts."""
NUMBERS: Final[Mapping[str, str]] = {
    "alarm_id": "The alarm's id.",
    "columns": "Columns (0028,0011).",
    "delivery_id": "The delivery's id.",
    "expected": "The version on which the change is based; another newest version is a conflict.",
    "frames": "Number of Frames (0028,0008).",
    "instance_id": "The instance's id.",
    "length": "Bytes of the data set.",
    "memory": "Bytes that the process holds.",
    "refusals": "How often the destination has refused it.",
    "restored_from": "The version that a rollback repeated.",
    "rows": "Rows (0028,0010).",
    "uptime": "Seconds since the process started.",
}
"""Of numbers."""


def add_descriptions(document: dict[str, Any]) -> None:
    """Add these descriptions to the fields and parameters that have none."""
    for name, schema, described in _named(document):
        if "description" not in described and "$ref" not in schema:
            kinds = {part.get("type") for part in schema.get("anyOf", (schema,))}
            table = TEXTS if "string" in kinds else NUMBERS if kinds & {"integer", "number"} else {}
            if name in table:
                described["description"] = table[name]


def _named(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return name, schema, and what is described, of every field and parameter."""
    for schema in document["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            yield name, field, field
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                yield parameter["name"], parameter["schema"], parameter
