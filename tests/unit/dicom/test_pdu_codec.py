"""What peers really put into association PDUs: padding, unknown items, malformed options."""

import struct

import pytest
from pynetdicom import pdu as oracle

from swallowtail.dicom import pdu
from swallowtail.dicom.pdu_codec import decode_pdu, encode_pdu
from swallowtail.dicom.violations import AbortReason, ViolationError

CONTEXT = pdu.ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
REQUEST = pdu.AssociateRQ("SWALLOWTAIL", "HERON", (CONTEXT,), pdu.UserInformation(max_pdu=16_384))
BODY = encode_pdu(REQUEST)[6:]


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _with_user_items(*items: bytes) -> bytes:
    at = BODY.index(b"\x50\x00")
    return BODY[:at] + _item(0x50, BODY[at + 4 :] + b"".join(items))


def _user(body: bytes) -> pdu.UserInformation:
    decoded = decode_pdu(1, body)
    assert isinstance(decoded, pdu.AssociateRQ)
    return decoded.user


@pytest.mark.parametrize("padding", [b" ", b"\0"])
def test_titles_may_be_padded_with_spaces_or_nuls(padding: bytes) -> None:
    body = BODY[:4] + b" LINK".ljust(16, padding) + b"US1".ljust(16, padding) + BODY[36:]
    decoded = decode_pdu(1, body)
    assert isinstance(decoded, pdu.AssociateRQ)
    assert (decoded.called, decoded.calling) == ("LINK", "US1")


def test_unknown_items_are_skipped() -> None:
    assert decode_pdu(1, BODY + _item(0x7F, b"later")) == REQUEST
    assert _user(_with_user_items(_item(0x5F, b"later"))) == REQUEST.user


def test_options_are_read() -> None:
    window, role = _item(0x53, b"\0\0\0\0"), _item(0x54, b"\0\x051.2.3\x01\0")
    identity = _item(0x58, b"\x02\x01\0\x03ada\0\x06secret")
    user = _user(_with_user_items(window, role, identity))
    assert user.window == pdu.AsyncOperationsWindow(0, 0)
    assert user.roles == (pdu.RoleSelection("1.2.3", scu=True, scp=False),)
    assert user.identity == pdu.UserIdentity(2, True, b"ada", b"secret")
    assert "secret" not in repr(user)
    assert "ada" not in repr(user)


@pytest.mark.parametrize(
    "item",
    [
        _item(0x53, b"\0"),
        _item(0x54, b"\0\x091.2.3\x01\0"),
        _item(0x54, b"\0\x051.2.3"),
        _item(0x56, b"\0"),
        _item(0x57, b"\0\x011\0\x011\0\x05\0\x09"),
        _item(0x58, b"\x01\x00\xff\xff"),
        _item(0x59, b"\0\x09x"),
    ],
    ids=["window", "role uid", "role flags", "extended", "common", "identity", "identity answer"],
)
def test_a_malformed_option_counts_as_absent(item: bytes) -> None:
    assert _user(_with_user_items(item)) == REQUEST.user


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (BODY[:60], "fixed fields"),
        (BODY[:-1], "longer than what contains it"),
        (BODY + b"\x10", "cut off"),
        (BODY[:68], "no presentation context"),
        (BODY[:68] + _item(0x20, b"\x01"), "cut off"),
        (BODY[:68] + _item(0x20, b"\x01\0\0\0"), "0 abstract syntaxes"),
        (BODY[: BODY.index(b"\x50\x00")], "user information"),
        (BODY[:68] + BODY[68:] * 2, "twice"),
    ],
)
def test_what_cannot_be_read_is_a_violation(body: bytes, words: str) -> None:
    with pytest.raises(ViolationError, match=words) as caught:
        decode_pdu(1, body)
    assert caught.value.reason == AbortReason.INVALID_PARAMETER


@pytest.mark.parametrize("kind", [3, 5, 6, 7])
def test_a_control_pdu_has_four_bytes(kind: int) -> None:
    with pytest.raises(ViolationError, match="instead of 4"):
        decode_pdu(kind, b"\0\0\0")


def test_an_unknown_type_is_unrecognized() -> None:
    with pytest.raises(ViolationError) as caught:
        decode_pdu(0x47, b"")
    assert caught.value.reason == AbortReason.UNRECOGNIZED_PDU


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="16 characters"):
        encode_pdu(pdu.AssociateRQ("A" * 17, "B", (CONTEXT,)))
    with pytest.raises(ValueError, match="more than its length field"):
        encode_pdu(
            pdu.AssociateRQ("A", "B", (pdu.ProposedContext(1, "1", ("1.2.840.10008.1.2",) * 4000),))
        )


def test_pynetdicom_reads_our_answers() -> None:
    roles = (pdu.RoleSelection("1.2.3", scu=True, scp=True),)
    user = pdu.UserInformation(max_pdu=262_144, window=pdu.AsyncOperationsWindow(1, 1), roles=roles)
    answer = pdu.AssociateAC(
        "SWALLOWTAIL", "HERON", (pdu.AnsweredContext(1, 0, "1.2.840.10008.1.2"),), user
    )
    theirs = oracle.A_ASSOCIATE_AC()
    theirs.decode(encode_pdu(answer))
    assert theirs.presentation_context[0].transfer_syntax == "1.2.840.10008.1.2"
    assert theirs.user_information.async_ops_window.maximum_number_operations_invoked == 1
    assert theirs.user_information.role_selection["1.2.3"].scp_role == 1
    assert decode_pdu(2, theirs.encode()[6:]) == answer


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (pdu.AssociateRJ(2, 3, 1), oracle.A_ASSOCIATE_RJ),
        (pdu.ReleaseRQ(), oracle.A_RELEASE_RQ),
        (pdu.ReleaseRP(), oracle.A_RELEASE_RP),
        (pdu.Abort(2, 6), oracle.A_ABORT_RQ),
    ],
)
def test_pynetdicom_writes_the_same_control_pdus(ours: pdu.Pdu, theirs: type) -> None:
    read = theirs()
    read.decode(encode_pdu(ours))
    assert read.encode() == encode_pdu(ours)


def test_a_rejection_is_said_in_words() -> None:
    assert str(pdu.AssociateRJ(1, 1, 7)) == "rejected permanently: called AE title not recognized"
    assert str(pdu.AssociateRJ(2, 3, 1)) == "rejected for now: temporary congestion"
    assert str(pdu.AssociateRJ(2, 9, 9)) == "rejected for now: reason 9"
