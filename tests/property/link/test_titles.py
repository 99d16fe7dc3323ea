"""Whatever titles a peer sends, no invalid one is admitted by any listener."""

from hypothesis import given
from hypothesis import strategies as st

from swallowtail.calls.config import Device
from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.calls.dimse_services.responses import ASSOCIATION_RESPONSES, AssociationRejection
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.pdu import AssociateRQ
from swallowtail.dicom.pdu_codec import HEADER_LENGTH, decode_pdu, encode_pdu
from swallowtail.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from swallowtail.dicom.violations import ViolationError
from swallowtail.link.directory import Directory
from swallowtail.link.scp.admission import AssociationAdmitted, Load, judge_association
from swallowtail.link.scp.services.table import PROVIDERS

KNOWN = Device(name="us1", ae_title="US1", addresses=("10.0.0.9",))
REQUEST = encode_pdu(propose("", "", [(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]))
CALLED, CALLING = slice(10, 26), slice(26, 42)  # PS3.8 Table 9-11

raw = st.one_of(
    st.binary(min_size=16, max_size=16),
    st.text(alphabet="US1 \0\n\\\x1b", max_size=16).map(lambda text: text.encode().ljust(16)),
    st.sampled_from([b"US1", b"SWALLOW", b"", b"\0", b"US1\n", b"SWALLOW\t"]).flatmap(
        lambda title: st.sampled_from([title.ljust(16), title.ljust(16, b"\0")])
    ),
)


def legal(title: bytes) -> bool:
    """PS3.5 6.2, padded with spaces or NULs."""
    kept = title.strip(b" \0")
    return bool(kept) and all(0x20 <= byte <= 0x7E and byte != 0x5C for byte in kept)


@given(raw, raw, st.sampled_from(["accept", "reject"]))
def test_an_invalid_title_is_rejected_with_the_reason_of_its_side(called, calling, unknown_devices):
    pdu = bytearray(REQUEST)
    pdu[CALLED], pdu[CALLING] = called, calling
    try:
        request = decode_pdu(1, bytes(pdu[HEADER_LENGTH:]))
    except ViolationError:
        return
    assert isinstance(request, AssociateRQ)
    listener = DicomListener(
        name="main", ae_title="SWALLOW", port=104, unknown_devices=unknown_devices
    )
    found = judge_association(
        listener,
        Directory.of([KNOWN]),
        request,
        "10.0.0.9",
        Load(),
        providers=PROVIDERS,
        cloud_online=True,
    )
    if called.strip(b" \0") != b"SWALLOW":
        expected = AssociationRejection(1, 1, 7)
    elif not legal(calling) or (unknown_devices == "reject" and calling.strip(b" \0") != b"US1"):
        expected = AssociationRejection(1, 1, 3)
    else:
        assert isinstance(found, AssociationAdmitted)
        return
    assert not isinstance(found, AssociationAdmitted)
    assert ASSOCIATION_RESPONSES[found.situation] == expected
