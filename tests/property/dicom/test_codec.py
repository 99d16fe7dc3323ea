"""encode and decode are inverse, pynetdicom agrees, and garbage gives a violation or a value, never
anything else.
"""

import struct
from io import BytesIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID
from pynetdicom import pdu as oracle
from pynetdicom.dsutils import decode as decode_data_set

from swallowtail.dicom import commands, pdu
from swallowtail.dicom.pdu_codec import HEADER_LENGTH, decode_pdu, encode_pdu
from swallowtail.dicom.violations import ViolationError

UIDS = st.lists(st.integers(1, 99_999), min_size=2, max_size=7).map(
    lambda arcs: ".".join(map(str, arcs))
)
TITLES = st.builds(
    lambda first, rest: first + rest.rstrip(),
    st.sampled_from("AZ09_"),
    st.text("AZ09_ ", max_size=15),
)
BYTES = st.binary(max_size=40)
WORDS = st.integers(0, 0xFFFF)

ROLES = st.builds(pdu.RoleSelection, UIDS, st.booleans(), st.booleans())
USERS = st.builds(
    pdu.UserInformation,
    max_pdu=st.integers(0, 0xFFFFFFFF),
    implementation_class=UIDS,
    implementation_version=TITLES,
    window=st.none() | st.builds(pdu.AsyncOperationsWindow, WORDS, WORDS),
    roles=st.lists(ROLES, max_size=3).map(tuple),
    extended=st.lists(st.builds(pdu.ExtendedNegotiation, UIDS, BYTES), max_size=2).map(tuple),
    common_extended=st.lists(
        st.builds(pdu.CommonExtendedNegotiation, UIDS, UIDS, st.lists(UIDS, max_size=2).map(tuple)),
        max_size=2,
    ).map(tuple),
    identity=st.none()
    | st.builds(pdu.UserIdentity, st.integers(1, 5), st.booleans(), BYTES, BYTES),
    identity_response=st.none() | BYTES,
)
PROPOSED = st.builds(
    pdu.ProposedContext,
    st.integers(0, 127).map(lambda n: 2 * n + 1),
    UIDS,
    st.lists(UIDS, max_size=3).map(tuple),
)
ANSWERED = st.builds(
    pdu.AnsweredContext, st.integers(0, 127).map(lambda n: 2 * n + 1), st.integers(0, 4), UIDS
)
CONTEXTS = st.lists(PROPOSED, min_size=1, max_size=4, unique_by=lambda context: context.id).map(
    tuple
)
SMALL = st.integers(0, 255)
PDUS = st.one_of(
    st.builds(pdu.AssociateRQ, TITLES, TITLES, CONTEXTS, USERS, UIDS, WORDS),
    st.builds(
        pdu.AssociateAC,
        TITLES,
        TITLES,
        st.lists(ANSWERED, max_size=4).map(tuple),
        USERS,
        UIDS,
        WORDS,
    ),
    st.builds(pdu.AssociateRJ, SMALL, SMALL, SMALL),
    st.builds(pdu.Abort, SMALL, SMALL),
    st.just(pdu.ReleaseRQ()),
    st.just(pdu.ReleaseRP()),
)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "US": WORDS,
    "AT": st.lists(st.integers(0, 0xFFFFFFFF), max_size=4).map(tuple),
    "UI": UIDS,
    "AE": TITLES,
    "LO": TITLES,
}
ELEMENTS = {number: VALUES[vr] for number, vr in commands.ELEMENTS.items() if vr in VALUES}
NEEDED = {
    commands.Element.COMMAND_FIELD: st.sampled_from(commands.CommandField),
    commands.Element.MESSAGE_ID: WORDS,
    commands.Element.RESPONDED_MESSAGE_ID: WORDS,
    commands.Element.DATA_SET_TYPE: WORDS,
}
COMMANDS = st.fixed_dictionaries(
    NEEDED, optional={key: value for key, value in ELEMENTS.items() if key not in NEEDED}
).map(commands.Command)


def _decode(raw: bytes) -> pdu.Pdu:
    kind, length = struct.unpack_from(">BxI", raw)
    assert length == len(raw) - HEADER_LENGTH
    return decode_pdu(kind, raw[HEADER_LENGTH:])


@given(PDUS)
def test_a_pdu_survives_its_bytes(value: pdu.Pdu) -> None:
    assert _decode(encode_pdu(value)) == value


@given(st.integers(0, 255), st.binary(max_size=300))
def test_a_garbled_pdu_is_a_violation_or_a_value(kind: int, body: bytes) -> None:
    try:
        value = decode_pdu(kind, body)
    except ViolationError:
        return
    assert _decode(encode_pdu(value)) == value


@given(PDUS, st.data())
def test_a_damaged_pdu_is_a_violation_or_a_value(value: pdu.Pdu, data: st.DataObject) -> None:
    raw = bytearray(encode_pdu(value))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(SMALL)
    cut = data.draw(st.integers(HEADER_LENGTH, len(raw)))
    try:
        damaged = decode_pdu(raw[0], bytes(raw[HEADER_LENGTH:cut]))
    except ViolationError:
        return
    assert _decode(encode_pdu(damaged)) == damaged


@given(
    st.builds(
        pdu.AssociateRQ,
        TITLES,
        TITLES,
        CONTEXTS,
        st.builds(pdu.UserInformation, max_pdu=WORDS, implementation_class=UIDS),
    )
)
def test_pynetdicom_reads_our_request_and_writes_the_same(value: pdu.AssociateRQ) -> None:
    theirs = oracle.A_ASSOCIATE_RQ()
    theirs.decode(encode_pdu(value))
    assert (theirs.called_ae_title.strip(), theirs.calling_ae_title.strip()) == (
        value.called,
        value.calling,
    )
    assert [
        (item.context_id, item.abstract_syntax, tuple(item.transfer_syntax))
        for item in theirs.presentation_context
    ] == [
        (context.id, UID(context.abstract_syntax), context.transfer_syntaxes)
        for context in value.contexts
    ]
    assert theirs.user_information.maximum_length == value.user.max_pdu
    assert _decode(theirs.encode()) == value


@given(COMMANDS)
def test_a_command_survives_its_bytes(command: commands.Command) -> None:
    assert commands.decode(commands.encode(command)) == command


@given(COMMANDS)
def test_pydicom_reads_our_command(command: commands.Command) -> None:
    raw = commands.encode(command)
    theirs = decode_data_set(BytesIO(raw), is_implicit_vr=True, is_little_endian=True)
    numbers = [element.tag.element for element in theirs]
    assert numbers == [0, *(number for number, _ in command.items())], (
        "ascending, group length first"
    )
    assert theirs.CommandGroupLength == len(raw) - 12
    assert theirs.CommandField == command.field
    for number in (commands.Element.AFFECTED_SOP_INSTANCE, commands.Element.MOVE_ORIGINATOR):
        if number in command:
            assert str(theirs[0, number].value).strip() == command.text(number)


@given(st.binary(max_size=200))
def test_a_garbled_command_is_a_violation_or_a_value(raw: bytes) -> None:
    try:
        command = commands.decode(raw)
    except ViolationError:
        return
    assert commands.decode(commands.encode(command)) == command


@given(COMMANDS, st.data())
def test_a_damaged_command_is_a_violation_or_a_value(
    command: commands.Command, data: st.DataObject
) -> None:
    raw = bytearray(commands.encode(command))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(SMALL)
    try:
        damaged = commands.decode(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    except ViolationError:
        return
    assert damaged.field >= 0
    assert damaged.status >= 0
    assert isinstance(damaged.sop_class, str)
