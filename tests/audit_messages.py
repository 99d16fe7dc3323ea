"""Audit messages checked against the structure of the schema in PS3.15 A.5.1, written down anew
from the standard.
"""

import base64
import re
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree as ET

TOKEN: Final = re.compile(r"(?!\s)[^\t\n\r]*(?<!\s)|")
CODE: Final = {"csd-code": TOKEN, "codeSystemName": TOKEN, "originalText": TOKEN}
CODE_OPTIONAL: Final = {"displayName": TOKEN}


def one_of(*values: str) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, values)))


def to(last: int) -> re.Pattern[str]:
    return one_of(*map(str, range(1, last + 1)))


@dataclass(frozen=True)
class Rule:
    """What an element may have.

    Attributes by pattern, and children in their order as (names, fewest, most).
    """

    required: dict[str, re.Pattern[str]] = field(default_factory=dict)
    optional: dict[str, re.Pattern[str]] = field(default_factory=dict)
    children: tuple[tuple[frozenset[str], int, int], ...] = ()
    text: bool = False


def child(*names: str, fewest: int = 1, most: int = 1) -> tuple[frozenset[str], int, int]:
    return frozenset(names), fewest, most


MANY: Final = 10_000
CODED: Final = Rule(CODE, CODE_OPTIONAL)
SCHEMA: Final = {
    "AuditMessage": Rule(
        children=(
            child("EventIdentification"),
            child("ActiveParticipant", most=MANY),
            child("AuditSourceIdentification"),
            child("ParticipantObjectIdentification", fewest=0, most=MANY),
        )
    ),
    "EventIdentification": Rule(
        {
            "EventDateTime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"),
            "EventOutcomeIndicator": one_of("0", "4", "8", "12"),
        },
        {"EventActionCode": one_of("C", "R", "U", "D", "E")},
        (
            child("EventID"),
            child("EventTypeCode", fewest=0, most=MANY),
            child("EventOutcomeDescription", fewest=0),
        ),
    ),
    "EventID": CODED,
    "EventTypeCode": CODED,
    "EventOutcomeDescription": Rule(text=True),
    "ActiveParticipant": Rule(
        {
            "UserID": re.compile(".*", re.DOTALL),
            "UserIsRequestor": one_of("true", "false", "0", "1"),
        },
        {
            "AlternativeUserID": re.compile(".*", re.DOTALL),
            "UserName": re.compile(".*", re.DOTALL),
            "NetworkAccessPointID": TOKEN,
            "NetworkAccessPointTypeCode": to(5),
        },
        (child("RoleIDCode", fewest=0, most=MANY), child("MediaIdentifier", fewest=0)),
    ),
    "RoleIDCode": CODED,
    "AuditSourceIdentification": Rule(
        {"AuditSourceID": TOKEN},
        {"AuditEnterpriseSiteID": TOKEN},
        (child("AuditSourceTypeCode", fewest=0, most=MANY),),
    ),
    "AuditSourceTypeCode": Rule({"csd-code": to(9)}),
    "ParticipantObjectIdentification": Rule(
        {"ParticipantObjectID": TOKEN},
        {
            "ParticipantObjectTypeCode": to(4),
            "ParticipantObjectTypeCodeRole": to(26),
            "ParticipantObjectDataLifeCycle": to(15),
            "ParticipantObjectSensitivity": TOKEN,
        },
        (
            child("ParticipantObjectIDTypeCode"),
            child("ParticipantObjectName", "ParticipantObjectQuery"),
            child("ParticipantObjectDetail", fewest=0, most=MANY),
            child("ParticipantObjectDescription", fewest=0, most=MANY),
        ),
    ),
    "ParticipantObjectIDTypeCode": CODED,
    "ParticipantObjectName": Rule(text=True),
    "ParticipantObjectQuery": Rule(text=True),
    "ParticipantObjectDetail": Rule({"type": TOKEN, "value": re.compile(r"[A-Za-z0-9+/]*={0,2}")}),
}


def checked(message: bytes) -> ET.Element:
    """Return the root of a message that has the structure of the schema; raises AssertionError."""
    root = ET.fromstring(message)
    assert root.tag == "AuditMessage"
    _check(root)
    requestors = [
        one for one in root.iter("ActiveParticipant") if one.get("UserIsRequestor") == "true"
    ]
    assert len(requestors) <= 1, "A.5.2: one requestor at most"
    return root


def _check(element: ET.Element) -> None:
    rule = SCHEMA[element.tag]
    known = rule.required | rule.optional
    assert rule.required.keys() <= element.attrib.keys() <= known.keys(), (
        element.tag,
        element.attrib,
    )
    for name, value in element.items():
        assert known[name].fullmatch(value), (element.tag, name, value)
    assert rule.text or not (element.text or "").strip(), element.tag
    tags = [one.tag for one in element]
    for names, fewest, most in rule.children:
        count = next((index for index, tag in enumerate(tags) if tag not in names), len(tags))
        assert fewest <= count <= most, (element.tag, sorted(names), count)
        tags = tags[count:]
    assert not tags, (element.tag, tags)
    for one in element:
        _check(one)


def detail(message: ET.Element, kind: str) -> str:
    """Return the value of the first detail of a type."""
    found = message.find(f".//ParticipantObjectDetail[@type='{kind}']")
    assert found is not None
    return base64.b64decode(found.attrib["value"]).decode()


HEADER: Final = re.compile(
    rb"<(?P<priority>\d{1,3})>1 (?P<time>\S+) (?P<host>\S+) (?P<application>\S+) (?P<process>\d+)"
    rb" (?P<id>\S+) - \xef\xbb\xbf"
)


def unframed(stream: bytes) -> tuple[list[bytes], bytes]:
    """Return the syslog messages of a stream (RFC 5425 4.3), and what is left of one that is not
    whole.
    """
    messages = []
    while (length := re.match(rb"(\d{1,9}) ", stream)) and len(stream) >= length.end() + int(
        length[1]
    ):
        end = length.end() + int(length[1])
        messages.append(stream[length.end() : end])
        stream = stream[end:]
    return messages, stream


def message_of(syslog: bytes) -> ET.Element:
    """Return the audit message of a syslog message whose header is one of RFC 5424."""
    header = HEADER.match(syslog)
    assert header is not None, syslog[:200]
    assert header["id"] == b"DICOM+RFC3881"
    assert int(header["priority"]) // 8 == 10
    return checked(syslog[header.end() :])
