"""Who may open an association."""

import msgspec
import pytest

from swallowtail.calls.config import Device
from swallowtail.calls.dicom_listener import DicomListener, EchoMeaning
from swallowtail.calls.responses import Situation
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.uids import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    VERIFICATION,
)
from swallowtail.link.directory import Directory
from swallowtail.link.scp.admission import (
    AssociationAdmitted,
    Load,
    Rejected,
    judge_association,
    judge_message,
    may_connect,
    negotiate,
)
from swallowtail.link.scp.services.table import PROVIDERS

LISTENER = DicomListener(
    name="echo-room",
    ae_title="SWALLOW",
    port=11112,
    max_associations=8,
    max_associations_per_address=4,
)
DEVICES = Directory.of([
    Device(name="us1", ae_title="US1", addresses=("10.0.0.9",)),
    Device(name="us-anywhere", ae_title="US2", addresses=("10.1.0.0/16", "fd00::/64")),
    Device(name="us1-spare", ae_title="US1", addresses=("10.0.0.10",)),
    Device(name="or", ae_title="OR1", addresses=("10.0.0.9",), listeners=("or",)),
])  # fmt: skip


US = "1.2.840.10008.5.1.4.1.1.6.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
WORKLIST = "1.2.840.10008.5.1.4.31"
PRIVATE = "1.2.3.4.5"
JPEG = "1.2.840.10008.1.2.4.50"
BOTH = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


def request(called="SWALLOW", calling="US1", classes=(VERIFICATION, US), syntaxes=BOTH):
    return propose(called, calling, [(uid, syntaxes) for uid in classes])


def judge(
    calling="US1",
    address="10.0.0.9",
    *,
    called="SWALLOW",
    listener=LISTENER,
    load=None,
    alive=True,
    directory=DEVICES,
):
    asked = request(called, calling)
    return judge_association(
        listener, directory, asked, address, load or Load(), providers=PROVIDERS, cloud_online=alive
    )


@pytest.mark.parametrize(
    ("calling", "address", "device"),
    [
        ("US1", "10.0.0.9", "us1"),
        ("US1", "10.0.0.10", "us1-spare"),
        (" US1 ", "::ffff:10.0.0.9", "us1"),
        ("US2", "10.1.77.3", "us-anywhere"),
        ("US2", "fd00::5", "us-anywhere"),
    ],
)
def test_a_known_device_is_admitted(calling, address, device):
    assert judge(calling, address) == AssociationAdmitted(device)


@pytest.mark.parametrize(
    ("calling", "address", "reason"),
    [
        ("US3", "10.0.0.9", "calling-ae"),
        ("us1", "10.0.0.9", "calling-ae"),
        ("US1", "10.0.0.11", "address"),
        ("OR1", "10.0.0.9", "calling-ae"),
    ],
)
def test_an_unknown_device_is_rejected_with_what_did_not_match(calling, address, reason):
    assert judge(calling, address) == Rejected(Situation.UNKNOWN_CALLING_AE, reason)


def test_permanent_answers_come_before_transient_ones():
    assert judge(called="OTHER", alive=False) == Rejected(Situation.UNKNOWN_CALLED_AE, "called-ae")
    assert judge("US3", alive=False, load=Load(8, 4)).situation is Situation.UNKNOWN_CALLING_AE


def test_a_listener_may_accept_anybody():
    listener = msgspec.structs.replace(LISTENER, unknown_devices="accept")
    assert judge("ANY", "203.0.113.5", listener=listener) == AssociationAdmitted("")
    assert judge(listener=listener) == AssociationAdmitted("us1")


def test_the_cloud_away_is_told_before_the_association():
    assert judge(alive=False) == Rejected(Situation.CLOUD_OFFLINE)


@pytest.mark.parametrize(
    ("classes", "echo", "found"),
    [
        ((VERIFICATION,), EchoMeaning.LINK, AssociationAdmitted("us1")),
        ((VERIFICATION, US), EchoMeaning.LINK, Rejected(Situation.CLOUD_OFFLINE)),
        ((VERIFICATION,), EchoMeaning.CLOUD, Rejected(Situation.CLOUD_OFFLINE)),
    ],
)
def test_an_echo_that_means_link_is_admitted_without_the_cloud_and_nothing_else(
    classes, echo, found
):
    listener = msgspec.structs.replace(LISTENER, echo=echo)
    assert (
        judge_association(
            listener,
            DEVICES,
            request(classes=classes),
            "10.0.0.9",
            Load(),
            providers=PROVIDERS,
            cloud_online=False,
        )
        == found
    )


def test_slots_are_capped_in_all_and_per_address():
    assert judge(load=Load(7, 3)) == AssociationAdmitted("us1")
    assert judge(load=Load(8, 0)) == Rejected(Situation.TOO_MANY_ASSOCIATIONS)
    assert judge(load=Load(4, 4)) == Rejected(Situation.TOO_MANY_ASSOCIATIONS)


def test_a_quarter_of_the_slots_waits_for_known_devices():
    listener = msgspec.structs.replace(LISTENER, unknown_devices="accept")
    assert judge("ANY", load=Load(5, 0), listener=listener) == AssociationAdmitted("")
    assert judge("ANY", load=Load(6, 0), listener=listener) == Rejected(
        Situation.TOO_MANY_ASSOCIATIONS
    )
    assert judge(load=Load(6, 0), listener=listener) == AssociationAdmitted("us1")
    assert judge(
        "ANY", load=Load(7, 0), listener=listener, directory=Directory()
    ) == AssociationAdmitted(""), "none known, none reserved"


@pytest.mark.parametrize(
    ("load", "address", "found"),
    [
        (Load(191, 0), "203.0.113.5", True),
        (Load(192, 0), "203.0.113.5", False),
        (Load(192, 0), "10.0.0.9", True),
        (Load(255, 127), "10.0.0.9", True),
        (Load(256, 0), "10.0.0.9", False),
        (Load(128, 128), "10.0.0.9", False),
    ],
)
def test_connections_that_say_nothing_do_not_keep_known_devices_out(load, address, found):
    assert may_connect(LISTENER, DEVICES, address, load) is found


def test_connections_are_at_least_twice_the_associations():
    wide = msgspec.structs.replace(LISTENER, max_associations=256, max_associations_per_address=200)
    assert may_connect(wide, DEVICES, "10.0.0.9", Load(511, 399))
    assert not may_connect(wide, DEVICES, "10.0.0.9", Load(511, 400))
    assert not may_connect(wide, DEVICES, "10.0.0.9", Load(512, 0))


def test_by_default_thirty_two_associations_may_come_from_one_address():
    listener = DicomListener(name="main", ae_title="SWALLOW", port=104)
    assert judge(listener=listener, load=Load(31, 31)) == AssociationAdmitted("us1")
    crowded = Rejected(Situation.TOO_MANY_ASSOCIATIONS)
    assert judge(listener=listener, load=Load(32, 32)) == crowded
    assert judge(listener=listener, load=Load(63, 0)) == AssociationAdmitted("us1")
    assert judge(listener=listener, load=Load(64, 0)) == crowded


def test_addresses_of_known_devices_are_known_to_their_listener_alone():
    assert DEVICES.has_address("echo-room", "10.0.0.10")
    assert not DEVICES.has_address("echo-room", "10.9.9.9")
    only_or = Directory.of(
        [Device(name="or", ae_title="OR1", addresses=("10.0.0.9",), listeners=("or",))]
    )
    assert only_or.has_address("or", "10.0.0.9")
    assert not only_or.has_address("echo-room", "10.0.0.9")


def results(listener: DicomListener, classes, syntaxes=BOTH) -> list[int]:
    return [
        context.result
        for context in negotiate(
            listener, request(classes=classes, syntaxes=syntaxes), PROVIDERS
        ).contexts
    ]


def test_every_storage_class_of_the_standard_is_taken_unless_some_are_listed():
    assert results(LISTENER, (VERIFICATION, US, CT, PRIVATE, WORKLIST)) == [0, 0, 0, 3, 3]
    listed = msgspec.structs.replace(LISTENER, sop_classes=(US, PRIVATE))
    assert results(listed, (VERIFICATION, US, CT, PRIVATE, WORKLIST)) == [0, 0, 3, 0, 3]


def test_a_service_that_is_not_allowed_is_refused_as_such():
    assert results(
        msgspec.structs.replace(LISTENER, services=("verification",)), (VERIFICATION, US, WORKLIST)
    ) == [0, 1, 3]
    assert results(
        msgspec.structs.replace(LISTENER, services=("storage",)), (VERIFICATION, US)
    ) == [1, 0]


def test_transfer_syntaxes_are_the_first_proposed_or_the_first_preferred_and_not_for_echo():
    def chosen(listener, syntaxes):
        return [
            (one.result, one.transfer_syntax)
            for one in negotiate(listener, request(syntaxes=syntaxes), PROVIDERS).contexts
        ]

    assert chosen(LISTENER, (JPEG, IMPLICIT_VR_LITTLE_ENDIAN))[1] == (0, JPEG)
    picky = msgspec.structs.replace(LISTENER, transfer_syntaxes=(EXPLICIT_VR_LITTLE_ENDIAN, JPEG))
    assert chosen(picky, (JPEG, EXPLICIT_VR_LITTLE_ENDIAN))[1] == (0, EXPLICIT_VR_LITTLE_ENDIAN)
    echo, store = chosen(picky, (IMPLICIT_VR_LITTLE_ENDIAN,))
    assert echo == (0, IMPLICIT_VR_LITTLE_ENDIAN)
    assert store[0] == 4


def test_a_private_transfer_syntax_is_passed_over_unless_it_is_configured():
    def chosen(listener, *syntaxes):
        asked = request(classes=(VERIFICATION, US), syntaxes=syntaxes)
        contexts = negotiate(listener, asked, PROVIDERS).contexts
        return [(one.result, one.transfer_syntax) for one in contexts]

    taught = msgspec.structs.replace(LISTENER, additional_transfer_syntaxes=(PRIVATE,))
    implicit = (0, IMPLICIT_VR_LITTLE_ENDIAN)
    assert chosen(LISTENER, PRIVATE, IMPLICIT_VR_LITTLE_ENDIAN) == [implicit, implicit]
    assert [result for result, _ in chosen(LISTENER, PRIVATE)] == [4, 4]
    assert chosen(taught, PRIVATE, IMPLICIT_VR_LITTLE_ENDIAN) == [(0, PRIVATE), (0, PRIVATE)]
    narrow = msgspec.structs.replace(taught, transfer_syntaxes=(EXPLICIT_VR_LITTLE_ENDIAN,))
    assert chosen(narrow, IMPLICIT_VR_LITTLE_ENDIAN, PRIVATE) == [implicit, (0, PRIVATE)]


def test_the_largest_pdu_is_the_listeners():
    assert (
        negotiate(
            msgspec.structs.replace(LISTENER, max_pdu=16_384), request(), PROVIDERS
        ).user.max_pdu
        == 16_384
    )


@pytest.mark.parametrize(
    ("services", "sop_class", "context", "found"),
    [
        (("verification", "storage"), US, US, None),
        (("verification", "storage"), VERIFICATION, VERIFICATION, None),
        (("verification", "storage"), US, CT, Situation.SOP_CLASS_NOT_CONFIGURED),
        (("verification", "storage"), WORKLIST, WORKLIST, Situation.SOP_CLASS_NOT_CONFIGURED),
        (("verification",), US, US, Situation.SERVICE_NOT_ALLOWED),
        (("storage",), VERIFICATION, VERIFICATION, Situation.SERVICE_NOT_ALLOWED),
    ],
)
def test_a_message_is_judged_by_the_configuration_of_now(services, sop_class, context, found):
    assert (
        judge_message(
            msgspec.structs.replace(LISTENER, services=services), sop_class, context, PROVIDERS
        )
        is found
    )
