"""An audit record as an audit message (PS3.15 A.5.1).

XML, which carries text of peers and patients and so escapes everything.

The record's place in its chain is the last object, `Security Audit Log` (A.5.3.2): a receiver sees
what is missing, and the digest is a head of the chain that has left the Cloud.
"""

import base64
import datetime as dt
import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import msgspec

from swallowtail.cloud.audit_export.dicom_codes import (
    APPLICATION,
    AUDIT_LOG,
    DCM,
    DESTINATION,
    EVENTS,
    OWN,
    SOURCE,
    Code,
    ObjectKind,
    kind_of,
    types_of,
)
from swallowtail.cloud.model.audit import AuditEvent, AuditRecord, EventId

APPLICATION_SERVER: Final = "4"
"""AuditSourceTypeCode (PS3.15 A.5.1.2.1)."""
_MACHINE, _ADDRESS = "1", "2"
"""NetworkAccessPointTypeCode."""
_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 2.2 has no character for."""
_SPACES: Final = re.compile(r"\s+")


class AuditSource(msgspec.Struct, frozen=True, kw_only=True):
    """The reporter of the events: this Cloud on behalf of an organisation."""

    id: str
    """AuditSourceID: name of the node."""
    site: str
    """AuditEnterpriseSiteID: the organisation's name."""


def encode(record: AuditRecord, source: AuditSource) -> bytes:
    """Return the message of a record, in UTF-8 and without line feeds."""
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?><AuditMessage>',
        *_event(record),
        *_participants(record.event, source),
        (
            "<AuditSourceIdentification"
            f"{_attributes(AuditEnterpriseSiteID=source.site, AuditSourceID=source.id)}>"
        ),
        f'<AuditSourceTypeCode csd-code="{APPLICATION_SERVER}"/></AuditSourceIdentification>',
        *_objects(record),
        "</AuditMessage>",
    ]
    return "".join(parts).encode()


def moment(seconds: float) -> str:
    """Return a time as xsd:dateTime, which is a timestamp of RFC 5424 too."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _event(record: AuditRecord) -> Iterator[str]:
    event = record.event
    yield f"<EventIdentification{_attributes(EventActionCode=event.action)}"
    outcome = str(int(event.outcome))
    yield f"{_attributes(EventDateTime=moment(record.at), EventOutcomeIndicator=outcome)}>"
    yield _code("EventID", Code(event.event, DCM, EVENTS[event.event]))
    for code in types_of(event):
        yield _code("EventTypeCode", code)
    if event.detail:
        yield f"<EventOutcomeDescription>{escape(_clean(event.detail))}</EventOutcomeDescription>"
    yield "</EventIdentification>"


def _participants(event: AuditEvent, source: AuditSource) -> Iterator[str]:
    """Return who asked for the event and the Cloud, with the roles that the standard gives them."""
    theirs, ours = _roles(event)
    role = [Code(event.role, OWN, event.role)] if event.role else []
    yield _participant(
        event.actor or "(unknown)", [*theirs, *role], requestor=True, address=event.address
    )
    yield _participant(source.id, ours, requestor=False, address="")
    for kind, name in event.objects:
        if kind == "destination" and event.event is EventId.INSTANCES_TRANSFERRED:
            yield _participant(name, [DESTINATION], requestor=False, address="")


def _roles(event: AuditEvent) -> tuple[list[Code], list[Code]]:
    """Return the roles of who asked, and of the Cloud."""
    if event.event is EventId.INSTANCES_TRANSFERRED and event.type.startswith("instance."):
        return [SOURCE], [DESTINATION]  # A.5.3.7: it has received
    if event.event in {EventId.INSTANCES_TRANSFERRED, EventId.BEGIN_TRANSFERRING}:
        return [], [SOURCE]
    if event.event is EventId.QUERY:
        return [SOURCE], [DESTINATION]  # A.5.3.10: who issues the query, who answers it
    return [], [APPLICATION]


def _participant(user: str, roles: Iterable[Code], *, requestor: bool, address: str) -> str:
    where = (
        _attributes(NetworkAccessPointID=address, NetworkAccessPointTypeCode=_kind_of(address))
        if address
        else ""
    )
    about = _attributes(UserID=user, UserIsRequestor="true" if requestor else "false")
    inside = "".join(_code("RoleIDCode", role) for role in roles)
    return f"<ActiveParticipant{about}{where}>{inside}</ActiveParticipant>"


def _kind_of(address: str) -> str:
    try:
        ipaddress.ip_network(address, strict=False)
    except ValueError:
        return _MACHINE
    return _ADDRESS


def _objects(record: AuditRecord) -> Iterator[str]:
    event = record.event
    for kind, name in event.objects:
        described = kind_of(kind)
        if kind == "query":
            yield _object(described, kind, query=name)
        else:
            yield _object(described, name, details=_alert(event))
    log = f"urn:swallowtail:audit:{record.tenant or 'operator'}"
    place = (("Sequence", str(record.sequence)), ("Digest", record.digest.hex()))
    yield _object(AUDIT_LOG, log, name="Security Audit Log", details=(*_alert(event), *place))


def _alert(event: AuditEvent) -> tuple[tuple[str, str], ...]:
    """Return the description of each subject of an alert (PS3.15 A.5.3.11)."""
    if event.event is not EventId.SECURITY_ALERT:
        return ()
    return (("Alert Description", f"{event.type}: {event.detail}" if event.detail else event.type),)


def _object(
    kind: ObjectKind,
    identifier: str,
    *,
    name: str = "",
    query: str | None = None,
    details: Iterable[tuple[str, str]] = (),
) -> str:
    about = _attributes(
        ParticipantObjectID=identifier or "(none)",
        ParticipantObjectTypeCode=kind.kind,
        ParticipantObjectTypeCodeRole=kind.role,
    )
    if query is None:
        token = escape(_token(name or identifier or "(none)"))
        what = f"<ParticipantObjectName>{token}</ParticipantObjectName>"
    else:
        what = f"<ParticipantObjectQuery>{_binary(query)}</ParticipantObjectQuery>"
    more = "".join(
        f'<ParticipantObjectDetail{_attributes(type=label)} value="{_binary(text)}"/>'
        for label, text in details
    )
    code = _code("ParticipantObjectIDTypeCode", kind.identifier)
    tag = "ParticipantObjectIdentification"
    return f"<{tag}{about}>{code}{what}{more}</{tag}>"


def _code(element: str, code: Code) -> str:
    value = _attributes(
        **{"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning}
    )
    return f"<{element}{value}/>"


def _attributes(**values: str) -> str:
    return "".join(f" {name}={quoteattr(_token(value))}" for name, value in values.items())


def _token(text: str) -> str:
    """Return text as xsd:token has it: no line feeds, no runs of spaces, none at its ends."""
    return _SPACES.sub(" ", _clean(text)).strip()


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def _binary(text: str) -> str:
    return base64.b64encode(text.encode(errors="backslashreplace")).decode()
