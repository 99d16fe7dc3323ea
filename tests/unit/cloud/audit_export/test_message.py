"""Messages have the structure of PS3.15 A.5.1 whatever peers and people write, and the codes of
A.5.3.
"""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swallowtail.cloud.audit_export.dicom_codes import EVENTS
from swallowtail.cloud.audit_export.message import AuditSource, encode
from swallowtail.cloud.audit_export.syslog import frame
from swallowtail.cloud.model.audit import (
    AuditEvent,
    AuditRecord,
    EventAction,
    EventId,
    EventOutcome,
)
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant
from tests.audit_messages import checked, detail, message_of, unframed

SOURCE = AuditSource(id="cloud.example", site="heronsgate")
NAMES = st.text(string.ascii_lowercase + "-.", max_size=30)
TEXTS = st.text(max_size=60)
EVENT_VALUES = st.builds(
    AuditEvent,
    event=st.sampled_from(EventId),
    action=st.sampled_from(EventAction),
    outcome=st.sampled_from(EventOutcome),
    type=NAMES,
    actor=TEXTS,
    role=NAMES,
    address=st.one_of(TEXTS, st.ip_addresses().map(str)),
    objects=st.lists(
        st.tuples(
            st.one_of(
                NAMES,
                st.sampled_from(
                    ["study", "patient", "query", "instance", "destination", "facility"]
                ),
            ),
            TEXTS,
        ),
        max_size=5,
    ).map(tuple),
    detail=TEXTS,
)


def record(event: AuditEvent, sequence: int = 7, at: float = 1_800_000_000.25) -> AuditRecord:
    return AuditRecord(
        tenant=Tenant("heron"), sequence=sequence, at=at, event=event, digest=bytes(range(32))
    )


@given(event=EVENT_VALUES, at=st.floats(0, 4e9), site=TEXTS, node=TEXTS)
def test_every_record_is_a_message_of_the_schema(
    event: AuditEvent, at: float, site: str, node: str
) -> None:
    source = AuditSource(id=node, site=site)
    root = checked(encode(record(event, at=at), source))
    assert detail(root, "Sequence") == "7"
    assert detail(root, "Digest") == bytes(range(32)).hex()
    (message,), rest = unframed(frame(record(event, at=at), source, 99))
    assert rest == b""
    assert b"\n" not in message.split(b"<AuditMessage>")[0]
    assert message_of(message).tag == "AuditMessage"


@given(value=st.text(min_size=1, max_size=60))
def test_objects_come_back_as_they_were_but_for_spaces_and_what_xml_has_no_character_for(
    value: str,
) -> None:
    event = AuditEvent(
        event=EventId.QUERY, action=EventAction.EXECUTE, actor="ada", objects=(("query", value),)
    )
    root = checked(encode(record(event), SOURCE))
    assert root.findtext(".//ParticipantObjectQuery") is not None


def test_every_event_of_the_model_has_its_code() -> None:
    assert set(EVENTS) == set(EventId)


def codes(root: object, path: str) -> list[tuple[str, str]]:
    return [(one.get("csd-code"), one.get("codeSystemName")) for one in root.iterfind(path)]  # type: ignore[attr-defined]


def test_a_stored_instance_is_instances_transferred_from_the_modality_to_the_cloud() -> None:
    event = AuditEvent(
        event=EventId.INSTANCES_TRANSFERRED,
        action=EventAction.CREATE,
        type="instance.new",
        actor="US1",
        address="192.0.2.7",
        objects=(("instance", "1.2.3"), ("study", "1.2"), ("patient", "H-1")),
    )
    root = checked(encode(record(event), SOURCE))
    assert root.find("EventIdentification").attrib == {  # type: ignore[union-attr]
        "EventActionCode": "C",
        "EventDateTime": "2027-01-15T08:00:00.250000Z",
        "EventOutcomeIndicator": "0",
    }
    assert codes(root, "EventIdentification/EventID") == [("110104", "DCM")]
    modality, cloud = root.findall("ActiveParticipant")
    assert (modality.get("UserID"), modality.get("UserIsRequestor")) == ("US1", "true")
    assert (modality.get("NetworkAccessPointID"), modality.get("NetworkAccessPointTypeCode")) == (
        "192.0.2.7",
        "2",
    )
    assert (codes(modality, "RoleIDCode"), codes(cloud, "RoleIDCode")) == (
        [("110153", "DCM")],
        [("110152", "DCM")],
    )
    study, patient = root.findall("ParticipantObjectIdentification")[1:3]
    assert (study.get("ParticipantObjectTypeCode"), study.get("ParticipantObjectTypeCodeRole")) == (
        "2",
        "3",
    )
    assert codes(study, "ParticipantObjectIDTypeCode") == [("110180", "DCM")]
    assert (
        patient.get("ParticipantObjectTypeCode"),
        patient.get("ParticipantObjectTypeCodeRole"),
    ) == ("1", "1")
    assert codes(patient, "ParticipantObjectIDTypeCode") == [("2", "RFC-3881")]
    source = root.find("AuditSourceIdentification")
    assert source is not None
    assert (source.get("AuditSourceID"), source.get("AuditEnterpriseSiteID")) == (
        "cloud.example",
        "heronsgate",
    )
    assert source.find("AuditSourceTypeCode").attrib == {"csd-code": "4"}  # type: ignore[union-attr]


def test_a_delivery_goes_from_the_cloud_to_the_destination() -> None:
    event = AuditEvent(
        event=EventId.INSTANCES_TRANSFERRED,
        action=EventAction.READ,
        outcome=EventOutcome.SERIOUS_FAILURE,
        type="delivery.dead",
        actor="dispatch",
        objects=(("instance", "1.2"), ("destination", "pacs")),
        detail="refused",
    )
    root = checked(encode(record(event), SOURCE))
    roles = {
        one.get("UserID"): codes(one, "RoleIDCode") for one in root.iterfind("ActiveParticipant")
    }
    assert roles == {
        "dispatch": [],
        "cloud.example": [("110153", "DCM")],
        "pacs": [("110152", "DCM")],
    }
    assert root.findtext("EventIdentification/EventOutcomeDescription") == "refused"


@pytest.mark.parametrize(
    ("kind", "event", "type_code"),
    [
        ("association.rejected", EventId.SECURITY_ALERT, "110126"),
        ("token.create", EventId.SECURITY_ALERT, "110137"),
        ("link.rebind", EventId.SECURITY_ALERT, "110129"),
        ("link.admitted", EventId.USER_AUTHENTICATION, "110122"),
        ("token.refused.unknown", EventId.USER_AUTHENTICATION, "110122"),
    ],
)
def test_security_events_have_the_standards_type_and_our_word(
    kind: str, event: EventId, type_code: str
) -> None:
    alert = AuditEvent(
        event=event,
        action=EventAction.EXECUTE,
        type=kind,
        actor="x",
        objects=(("link", "l"),),
        detail="why",
    )
    root = checked(encode(record(alert), SOURCE))
    assert codes(root, "EventIdentification/EventTypeCode") == [
        (type_code, "DCM"),
        (kind, "99SWALLOWTAIL"),
    ]
    described = root.findall(".//ParticipantObjectDetail[@type='Alert Description']")
    assert bool(described) == (event is EventId.SECURITY_ALERT), (
        "A.5.3.11: each subject of an alert has its description"
    )


@pytest.mark.parametrize(("outcome", "priority"), [(0, 85), (4, 84), (8, 83), (12, 82)])
def test_the_severity_follows_the_outcome(outcome: int, priority: int) -> None:
    event = AuditEvent(
        event=EventId.QUERY, action=EventAction.EXECUTE, outcome=EventOutcome(outcome), actor="ada"
    )
    (message,), _ = unframed(frame(record(event), AuditSource(id="ü host\n<1>", site="s"), 99))
    assert message.startswith(
        f"<{priority}>1 2027-01-15T08:00:00.250000Z --host-<1> swallowtail 99"
        " DICOM+RFC3881 - ".encode()
    )


def test_the_operators_chain_is_named() -> None:
    event = AuditEvent(event=EventId.QUERY, action=EventAction.EXECUTE, actor="ada")
    made = AuditRecord(tenant=OPERATOR, sequence=1, at=0.0, event=event, digest=bytes(32))
    root = checked(encode(made, SOURCE))
    (log,) = root.findall("ParticipantObjectIdentification")
    assert log.get("ParticipantObjectID") == "urn:swallowtail:audit:operator"
    assert log.findtext("ParticipantObjectName") == "Security Audit Log"
