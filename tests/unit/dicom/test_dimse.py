"""What may follow what on an association."""

import struct

import pytest

from swallowtail.dicom import commands, uids
from swallowtail.dicom.commands import CommandField, Element
from swallowtail.dicom.dimse import CommandReceived, DataSetFragment
from swallowtail.dicom.indications import Aborted, DeadlinePassed
from swallowtail.dicom.negotiation import AcceptorPolicy, answer, propose
from swallowtail.dicom.pace import Deadline, Limits
from swallowtail.dicom.pdu_codec import encode_pdu
from swallowtail.dicom.violations import ViolationError
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import CLOSED, NEED_DATA
from tests.dicom.pair import CT, CT_CONTEXT, ECHO_CONTEXT, EXPLICIT, Pair

STORE = commands.store_request(1, CT, "1.2.3")
ECHO = commands.echo_request(2, uids.VERIFICATION)


def _pair(limits: Limits | None = None) -> Pair:
    pair = Pair(limits)
    pair.associate()
    return pair


def _pdu(data: bytes, context: int, control: int) -> bytes:
    return struct.pack(">BxIIBB", 4, len(data) + 6, len(data) + 2, context, control) + data


def _receive(pair: Pair, *pdus: bytes) -> object:
    pair.acceptor.machine.receive_data(b"".join(pdus), 0.0)
    return pair.acceptor.machine.next_event()


@pytest.mark.parametrize(
    ("pdus", "words"),
    [
        ([_pdu(b"ab", CT_CONTEXT, 2)], "no command announced"),
        (
            [_pdu(commands.encode(STORE), CT_CONTEXT, 3), _pdu(b"ab", ECHO_CONTEXT, 0)],
            "no command announced",
        ),
        (
            [
                _pdu(commands.encode(STORE), CT_CONTEXT, 3),
                _pdu(commands.encode(ECHO), ECHO_CONTEXT, 3),
            ],
            "before the last one ended",
        ),
        (
            [_pdu(b"\0\0", CT_CONTEXT, 1), _pdu(commands.encode(ECHO), ECHO_CONTEXT, 3)],
            "before the last one ended",
        ),
        ([_pdu(commands.encode(ECHO), 5, 3)], "context 5 was not accepted"),
        ([_pdu(commands.encode(ECHO), ECHO_CONTEXT, 3)] * 2, "message id 2 is in use"),
        ([_pdu(b"\0\0\0", ECHO_CONTEXT, 3)], "ends within"),
        ([_pdu(bytes(40_000), ECHO_CONTEXT, 1)] * 2, "more than 65536 bytes"),
    ],
)
def test_a_message_out_of_order_is_a_violation(pdus: list[bytes], words: str) -> None:
    pair = _pair()
    pair.acceptor.machine.receive_data(b"".join(pdus), 0.0)
    with pytest.raises(ViolationError, match=words):
        pair.acceptor.pull()
    pair.exchange()
    assert isinstance(pair.requestor.events[-1], Aborted)
    assert pair.acceptor.machine.next_event() is CLOSED


def test_a_command_may_come_in_any_number_of_fragments() -> None:
    pair = _pair()
    raw = commands.encode(ECHO)
    pieces = [_pdu(raw[at : at + 1], ECHO_CONTEXT, 1) for at in range(len(raw))]
    event = _receive(pair, *pieces, _pdu(b"", ECHO_CONTEXT, 3))
    assert isinstance(event, CommandReceived)
    assert event.command == ECHO
    assert event.context.abstract_syntax == uids.VERIFICATION


def test_the_end_of_a_data_set_is_told_even_when_it_brings_nothing() -> None:
    pair = _pair()
    _receive(pair, _pdu(commands.encode(STORE), CT_CONTEXT, 3))
    first = _receive(pair, _pdu(b"heron", CT_CONTEXT, 0))
    assert isinstance(first, DataSetFragment)
    assert (bytes(first.data), first.last) == (b"heron", False)
    assert pair.acceptor.machine.next_event() is NEED_DATA
    last = _receive(pair, _pdu(b"", CT_CONTEXT, 2))
    assert isinstance(last, DataSetFragment)
    assert (bytes(last.data), last.last) == (b"", True)


def test_an_answer_goes_where_its_request_came_from() -> None:
    pair = _pair()
    machine = pair.acceptor.machine
    _receive(pair, _pdu(commands.encode(ECHO), ECHO_CONTEXT, 3))
    assert machine._owed == {2: ECHO_CONTEXT}
    with pytest.raises(LocalProtocolError, match="no request with message id 3"):
        machine.send(
            ECHO_CONTEXT, commands.response_to(commands.echo_request(3, uids.VERIFICATION), 0), 0.0
        )
    with pytest.raises(
        LocalProtocolError, match="no request with message id 2 is open on context 3"
    ):
        machine.send(CT_CONTEXT, commands.response_to(ECHO, 0), 0.0)
    machine.send(ECHO_CONTEXT, commands.response_to(ECHO, 0xFF00), 0.0)
    machine.send(ECHO_CONTEXT, commands.response_to(ECHO, 0), 0.0)
    assert machine._owed == {}
    with pytest.raises(LocalProtocolError):
        machine.send(ECHO_CONTEXT, commands.response_to(ECHO, 0), 0.0)


def test_the_order_of_sending_is_ours_to_keep() -> None:
    pair = _pair()
    machine = pair.requestor.machine
    with pytest.raises(LocalProtocolError, match="no command has announced"):
        machine.send_data(b"ab", 0.0, last=True)
    with pytest.raises(LocalProtocolError, match="context 9 was not accepted"):
        machine.send(9, ECHO, 0.0)
    machine.send(CT_CONTEXT, STORE, 0.0)
    with pytest.raises(LocalProtocolError, match="not complete yet"):
        machine.send(ECHO_CONTEXT, ECHO, 0.0)
    with pytest.raises(LocalProtocolError, match="no association"):
        Pair().requestor.machine.send(1, ECHO, 0.0)


def _sent_fragments(pair: Pair) -> list[tuple[int, int, bytes]]:
    return _fragments(pair.requestor.machine.data_to_send())


def _fragments(raw: bytes) -> list[tuple[int, int, bytes]]:
    """Context, control header and bytes of each P-DATA-TF."""
    found = []
    while raw:
        length = int.from_bytes(raw[2:6])
        assert int.from_bytes(raw[6:10]) == length - 4, "one PDV per PDU"
        found.append((raw[10], raw[11], raw[12 : 6 + length]))
        raw = raw[6 + length :]
    return found


def test_a_data_set_is_cut_into_even_fragments_that_fit_the_peer() -> None:
    pair = Pair()
    pair.associate(policy=AcceptorPolicy(any_storage=True, max_pdu=129))
    machine = pair.requestor.machine
    machine.send(CT_CONTEXT, STORE, 0.0)
    command = _sent_fragments(pair)
    assert [control for _, control, _ in command] == [1] * (len(command) - 1) + [3], (
        "the command's end is told once"
    )
    assert b"".join(data for _, _, data in command) == commands.encode(STORE)
    machine.send_data(b"a" * 245, 0.0, last=False)
    assert _sent_fragments(pair) == [(CT_CONTEXT, 0, b"a" * 122)] * 2, "one byte is held back"
    machine.send_data(b"", 0.0, last=False)
    assert _sent_fragments(pair) == []
    machine.send_data(b"b" * 124, 0.0, last=True)
    assert _sent_fragments(pair) == [
        (CT_CONTEXT, 0, b"ab"),
        (CT_CONTEXT, 0, b"b" * 122),
        (CT_CONTEXT, 2, b"b"),
    ]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([(b"abc", True)], [(2, b"abc")]),
        ([(b"abc", False), (b"", True)], [(0, b"ab"), (2, b"c")]),
        ([(b"abc", False), (b"d", True)], [(0, b"ab"), (2, b"cd")]),
        ([(b"", True)], [(2, b"")]),
        ([(b"a", False), (b"b", False), (b"", True)], [(0, b"ab"), (2, b"")]),
    ],
)
def test_the_end_of_a_data_set_is_sent_once(
    pieces: list[tuple[bytes, bool]], expected: list[tuple[int, bytes]]
) -> None:
    pair = _pair()
    pair.requestor.machine.send(CT_CONTEXT, STORE, 0.0)
    _sent_fragments(pair)
    for data, last in pieces:
        pair.requestor.machine.send_data(data, 0.0, last=last)
    assert [(control, data) for _, control, data in _sent_fragments(pair)] == expected
    pair.requestor.machine.send(ECHO_CONTEXT, ECHO, 0.0)


def test_cancel_and_stray_responses_are_ordinary_events() -> None:
    pair = _pair()
    cancel = commands.Command(
        {Element.COMMAND_FIELD: CommandField.C_CANCEL_RQ, 0x0120: 4, Element.DATA_SET_TYPE: 0x0101}
    )
    stray = commands.response_to(commands.echo_request(44, "1.2"), 0)
    pair.requestor.machine.send(ECHO_CONTEXT, cancel, 0.0)
    pair.exchange()
    pair.acceptor.machine.receive_data(_pdu(commands.encode(stray), ECHO_CONTEXT, 3), 0.0)
    pair.acceptor.pull()
    assert [event.command for event in pair.acceptor.events] == [cancel, stray]
    assert pair.acceptor.machine._owed == {}, "neither wants an answer"


def test_a_peer_that_takes_almost_nothing_is_refused() -> None:
    pair = Pair()
    pair.requestor.machine.associate(propose("A", "B", [(CT, (EXPLICIT,))], max_pdu=100), 0.0)
    pair.requestor.machine.connected(0.0)
    pair.acceptor.machine.receive_data(pair.requestor.machine.data_to_send(), 0.0)
    with pytest.raises(ViolationError, match="we need 128"):
        pair.acceptor.machine.next_event()


def test_a_peer_without_a_limit_gets_fragments_of_our_own_size() -> None:
    pair = Pair()
    machine = pair.acceptor.machine
    machine.receive_data(encode_pdu(propose("A", "B", [(CT, (EXPLICIT,))], max_pdu=0)), 0.0)
    pair.acceptor.pull()
    machine.accept(answer(pair.acceptor.events[0].request, AcceptorPolicy(any_storage=True)), 0.0)
    machine.data_to_send()
    machine.send(1, STORE, 0.0)
    machine.send_data(bytes(300_000), 0.0, last=True)
    assert [
        len(data) for _, control, data in _fragments(machine.data_to_send()) if not control & 1
    ] == [262_138, 37_862]


def test_what_was_offered_counts() -> None:
    pair = Pair(Limits(max_pdu=1000))
    pair.associate(policy=AcceptorPolicy(any_storage=True, max_pdu=2000))
    pair.acceptor.machine.receive_data(
        _pdu(commands.encode(STORE), CT_CONTEXT, 3) + _pdu(bytes(1994), CT_CONTEXT, 0), 0.0
    )
    pair.acceptor.pull()
    assert len(pair.acceptor.data) == 1994
    pair.acceptor.machine.receive_data(_pdu(bytes(1995), CT_CONTEXT, 0), 0.0)
    with pytest.raises(ViolationError, match="claims 2001 bytes, allowed are 2000"):
        pair.acceptor.pull()


def test_no_limit_is_never_offered() -> None:
    with pytest.raises(LocalProtocolError, match="offer one"):
        Pair().associate(propose("A", "B", [(CT, (EXPLICIT,))], max_pdu=0))


def test_deadlines_follow_the_message() -> None:
    pair = _pair(Limits(idle=300.0, window=30.0))
    machine = pair.acceptor.machine
    assert machine.next_timeout() == 300.0
    machine.receive_data(_pdu(commands.encode(STORE), CT_CONTEXT, 3), 10.0)
    pair.acceptor.pull()
    assert machine.next_timeout() == 40.0, "a data set is due"
    machine.reading_paused(20.0)
    assert machine.next_timeout() is None
    machine.reading_resumed(60.0)
    assert machine.next_timeout() == 80.0
    machine.receive_data(_pdu(b"ab", CT_CONTEXT, 2), 61.0)
    pair.acceptor.pull()
    assert machine.next_timeout() is None, "we owe the answer"
    machine.send(CT_CONTEXT, commands.response_to(STORE, 0), 70.0)
    assert machine.next_timeout() == 370.0
    machine.handle_timeout(370.0)
    assert machine.next_event() == DeadlinePassed(Deadline.IDLE)


def test_message_ids_stay_in_their_field() -> None:
    machine = Pair().requestor.machine
    assert [machine.new_message_id() for _ in range(3)] == [1, 2, 3]
    machine._last_id = 0xFFFF
    assert machine.new_message_id() == 1
