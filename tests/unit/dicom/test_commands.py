"""Command sets as peers send them."""

import struct

import pytest

from swallowtail.dicom.commands import (
    Command,
    CommandField,
    Element,
    Priority,
    decode,
    echo_request,
    encode,
    request,
    response_to,
    store_request,
)
from swallowtail.dicom.violations import AbortReason, AbortSource, ViolationError


def _element(number: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHI", group, number, len(value)) + value


ECHO = _element(0x0100, b"\x30\0") + _element(0x0110, b"\x07\0") + _element(0x0800, b"\x01\x01")


def test_an_echo_request_in_bytes() -> None:
    raw = encode(echo_request(7, "1.2.840.10008.1.1"))
    assert raw == (
        _element(0, b"\x38\0\0\0")
        + _element(2, b"1.2.840.10008.1.1\0")
        + _element(0x0100, b"\x30\0")
        + _element(0x0110, b"\x07\0")
        + _element(0x0800, b"\x01\x01")
    )


def test_a_store_request_says_who_moved_it() -> None:
    command = decode(
        encode(
            store_request(9, "1.2", "1.2.3", priority=Priority.HIGH, move_originator=("HERON", 4))
        )
    )
    assert (command.field, command.message_id, command.has_data_set) == (
        CommandField.C_STORE_RQ,
        9,
        True,
    )
    assert (command.sop_class, command.sop_instance) == ("1.2", "1.2.3")
    assert (command.number(Element.PRIORITY), command.text(Element.MOVE_ORIGINATOR)) == (1, "HERON")
    assert command.number(Element.MOVE_ORIGINATOR_MESSAGE_ID) == 4
    assert not command.is_response


def test_a_response_answers_its_request() -> None:
    asked = store_request(9, "1.2", "1.2.3")
    answer = decode(encode(response_to(asked, 0xA700, comment="x" * 70)))
    assert (answer.field, answer.message_id, answer.status) == (CommandField.C_STORE_RSP, 9, 0xA700)
    assert (answer.sop_class, answer.sop_instance, answer.has_data_set) == ("1.2", "1.2.3", False)
    assert answer.text(Element.ERROR_COMMENT) == "x" * 64
    assert answer.is_response
    assert Element.MESSAGE_ID not in answer


def test_a_requested_instance_is_answered_as_the_affected_one() -> None:
    elements = {
        Element.REQUESTED_SOP_CLASS: "1.2",
        Element.REQUESTED_SOP_INSTANCE: "1.2.3",
        Element.ACTION_TYPE: 1,
    }
    answer = response_to(
        request(CommandField.N_ACTION_RQ, 3, data_set=True, elements=elements),
        0,
        elements={Element.ACTION_TYPE: 1},
    )
    assert answer.get(Element.AFFECTED_SOP_INSTANCE) == "1.2.3"
    assert answer.get(Element.REQUESTED_SOP_INSTANCE) is None
    assert answer.number(Element.ACTION_TYPE) == 1


@pytest.mark.parametrize(
    ("value", "follows"),
    [(0x0101, False), (0x0000, True), (0x0001, True), (0x0102, True), (0xFFFE, True)],
)
def test_whatever_is_not_0101_announces_a_data_set(value: int, follows: bool) -> None:
    assert decode(ECHO[:20] + _element(0x0800, value.to_bytes(2, "little"))).has_data_set is follows


def test_a_cancel_names_the_request_it_means() -> None:
    cancel = decode(
        _element(0x0100, b"\xff\x0f") + _element(0x0120, b"\x05\0") + _element(0x0800, b"\x01\x01")
    )
    assert cancel.is_cancel
    assert cancel.message_id == 5


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (ECHO[:5], "within an element's header"),
        (ECHO[:-1], "holds"),
        (ECHO + _element(0x0010, b"", group=8), r"\(0008,0010\)"),
        (ECHO + _element(0x0110, b"\x07\0"), "twice"),
        (ECHO[10:], "COMMAND_FIELD"),
        (ECHO[:10] + ECHO[20:], "MESSAGE_ID"),
        (ECHO[:20], "DATA_SET_TYPE"),
        (_element(0x0100, b"\x30\x80") + ECHO[10:], "RESPONDED_MESSAGE_ID"),
        (_element(0x0100, b"\x30") + ECHO[10:], "COMMAND_FIELD"),
        (b"", "COMMAND_FIELD"),
    ],
)
def test_what_cannot_be_answered_is_a_violation(raw: bytes, words: str) -> None:
    with pytest.raises(ViolationError, match=words) as caught:
        decode(raw)
    assert (caught.value.source, caught.value.reason) == (
        AbortSource.SERVICE_USER,
        AbortReason.INVALID_PARAMETER,
    )


def test_order_and_group_length_and_unknown_elements_do_no_harm() -> None:
    raw = (
        ECHO[20:]
        + _element(0, b"\xff\xff\xff\xff")
        + _element(0x5010, b"old")
        + ECHO[:20]
        + _element(0x1000, b"../../x \0")
    )
    command = decode(raw)
    assert command.message_id == 7
    assert command.get(0x5010) == b"old"
    assert command.sop_instance == "../../x", "a wrong UID deserves a status, not an abort"
    assert [number for number, _ in command.items()] == sorted(
        number for number, _ in command.items()
    )


def test_what_is_absent_reads_as_nothing() -> None:
    command = decode(ECHO)
    assert (command.status, command.sop_class, command.get(Element.STATUS)) == (0, "", None)
    odd = Command({Element.STATUS: b"\0", Element.AFFECTED_SOP_CLASS: 1})
    assert (odd.status, odd.sop_class) == (0, "")


def test_nothing_of_a_patient_is_in_its_repr() -> None:
    assert repr(store_request(9, "1.2", "1.2.3.4.5")) == "<Command 0001 message 9>"


def test_equal_commands_are_equal() -> None:
    assert {echo_request(1, "1.2"), echo_request(1, "1.2")} == {echo_request(1, "1.2")}
    assert echo_request(1, "1.2") != "1.2"


def test_a_value_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="type US cannot be str"):
        encode(Command({Element.STATUS: "0"}))
