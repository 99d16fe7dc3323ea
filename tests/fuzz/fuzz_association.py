"""What a peer may send on an association.

Any bytes, in any pieces, in both roles, end in events or in one ViolationError.

Input: a byte of mode, a byte that decides where the rest is cut, the peer's bytes. They are played
whole and in pieces, which must tell the consumer the same.
"""

import random
from collections.abc import Iterable, Iterator

from swallowtail.dicom import commands
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.dimse import CommandReceived, DataSetFragment, Dimse
from swallowtail.dicom.indications import AssociateRequested, ReleaseRequested
from swallowtail.dicom.negotiation import answer
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.violations import ViolationError
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import CLOSED, Signal
from tests.dicom.pair import POLICY, REQUEST, Pair

REQUESTOR, ESTABLISHED, IN_PLACE, RELEASING, PATIENT = (1 << bit for bit in range(5))
LIMITS = Limits(max_pdu=4096, tiny_count=100)
MAX_HELD = 65_542  # what a reader keeps of an incomplete control PDU, header included
MAX_DEADLINES = 4


def check(data: bytes) -> None:
    """Play the conversation whole and in pieces."""
    if len(data) < 2:
        return
    mode, raw = data[0], data[2:]
    assert _Peer(mode, 4096).play([raw]) == _Peer(mode, 64).play(_pieces(raw, data[1]))


def _pieces(raw: bytes, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    longest = 1 + (seed * seed) // 16
    while raw:
        size = rng.randint(1, longest)
        yield raw[:size]
        raw = raw[size:]


class _Peer:
    """One machine and a consumer that does what the events ask for."""

    def __init__(self, mode: int, buffer_size: int) -> None:
        self.reported: list[object] = []
        self._mode = mode
        self._asked: CommandReceived | None = None
        self._data = bytearray()
        self.machine = self._made(buffer_size)

    def _made(self, buffer_size: int) -> Dimse:
        if self._mode & ESTABLISHED:
            pair = Pair(LIMITS, buffer_size=buffer_size)
            pair.associate()
            machine = (pair.requestor if self._mode & REQUESTOR else pair.acceptor).machine
            if self._mode & RELEASING:
                machine.release(0.0)
            return machine
        machine = Dimse(LIMITS, BufferPool(buffer_size), 0.0)
        if self._mode & REQUESTOR:
            machine.associate(REQUEST, 0.0)
            machine.connected(0.0)
        else:
            machine.accepted_transport(0.0)
        return machine

    def play(self, pieces: Iterable[bytes]) -> list[object]:
        """Give the pieces, then let every deadline pass or the connection end.

        Answers what was told.
        """
        for piece in pieces:
            self._give(piece)
        if self._mode & PATIENT:
            self._wait()
        self.machine.receive_eof(1e6)
        self._pull()
        assert self.machine.next_event() is CLOSED
        assert self.machine.finished
        assert self.machine.next_timeout() is None
        assert self.machine._association._reader._pool.lent == 0, "every buffer is back"
        return self.reported

    def _give(self, piece: bytes) -> None:
        if not self._mode & IN_PLACE:
            self.machine.receive_data(piece, 0.0)
            self._pull()
            return
        while piece:
            space = self.machine.get_buffer(len(piece))
            size = min(len(space), len(piece))
            space[:size], piece = piece[:size], piece[size:]
            self.machine.buffer_updated(size, 0.0)
            self._pull()

    def _wait(self) -> None:
        for _ in range(MAX_DEADLINES):
            if (due := self.machine.next_timeout()) is None:
                break
            self.machine.handle_timeout(due)
            self._pull()
        assert self.machine.finished or self.machine._owed or not self.machine.associated

    def _pull(self) -> None:
        try:
            while not isinstance(event := self.machine.next_event(), Signal):
                self._take(event)
        except ViolationError as error:
            self.reported.append((str(error), error.reason, error.source))
            assert self.machine.next_event() is CLOSED
            assert self.machine.data_to_send(), "the peer is told why"
        self.machine.data_to_send()
        reader = self.machine._association._reader
        assert len(reader._pending) <= MAX_HELD
        assert len(self.machine._command) <= commands.MAX_LENGTH

    def _take(self, event: object) -> None:
        match event:
            case DataSetFragment(view, last):
                self._data += view
                if last:
                    self.reported.append(bytes(self._data))
                    self._data.clear()
                    self._answer()
                return
            case CommandReceived(_, command):
                self._asked = event
                if not command.has_data_set:
                    self._answer()
            case AssociateRequested(request):
                self.machine.accept(answer(request, POLICY), 0.0)
            case ReleaseRequested():
                self.machine.release(0.0)
        self.reported.append(event)

    def _answer(self) -> None:
        asked, self._asked = self._asked, None
        if asked is None or asked.command.is_response or asked.command.is_cancel:
            return
        try:
            self.machine.send(asked.context.id, commands.response_to(asked.command, 0), 0.0)
        except LocalProtocolError:
            assert self._mode & RELEASING, "only our own release forbids to answer"
