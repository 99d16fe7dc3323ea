"""The bytes of a control PDU: a type, then the body. What is read survives its own bytes."""

from swallowtail.dicom.negotiation import agree, answer
from swallowtail.dicom.pdu import MAX_ASSOCIATE_LENGTH, AssociateAC, AssociateRQ
from swallowtail.dicom.pdu_codec import HEADER_LENGTH, decode_pdu, encode_pdu
from swallowtail.dicom.violations import ViolationError
from tests.dicom.pair import POLICY, REQUEST


def check(data: bytes) -> None:
    """Decode, encode, decode; and plan an answer, whose bytes must exist."""
    if not data:
        return
    try:
        pdu = decode_pdu(data[0], data[1 : 1 + MAX_ASSOCIATE_LENGTH])
    except ViolationError:
        return
    assert decode_pdu(data[0], encode_pdu(pdu)[HEADER_LENGTH:]) == pdu
    if isinstance(pdu, AssociateRQ):
        accepted = answer(pdu, POLICY)
        assert decode_pdu(2, encode_pdu(accepted)[HEADER_LENGTH:]) == accepted
        agree(pdu, accepted, requestor=False)
    elif isinstance(pdu, AssociateAC):
        assert set(agree(REQUEST, pdu, requestor=True).contexts) <= {
            context.id for context in REQUEST.contexts
        }
