"""Reads PDUs from a buffer that is filled in place.

P-DATA-TF passes in fragments as the bytes come, never gathered.

Bytes go from the socket into a pooled buffer and leave it as memoryviews; when everything in it was
read, it goes back to the pool, so that an idle association holds none. What a PDU needs that is not
complete yet (a header, a control PDU) is kept aside, at most 64 KiB and never more than really
arrived. A view is released when the next item is asked for: using it later raises ValueError
instead of showing somebody else's bytes.
"""

import struct
from dataclasses import dataclass
from typing import Final

from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import MAX_ASSOCIATE_LENGTH, Pdu, PduType
from swallowtail.dicom.pdu_codec import HEADER_LENGTH, decode_pdu
from swallowtail.dicom.violations import AbortReason, ViolationError
from swallowtail.sansio.machine import Bytes

_PDU_HEADER: Final = struct.Struct(">BxI")
_PDV_HEADER: Final = struct.Struct(
    ">IBB"
)  # length, presentation context id, message control header (PS3.8 9.3.5.1, E.2)
PDV_OVERHEAD: Final = _PDV_HEADER.size
_COMMAND: Final = 0x01
_LAST: Final = 0x02
UNPROVEN: Final = 4_096
"""Bytes of a receive buffer before there is an association: most A-ASSOCIATE-RQs fit."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """Bytes of a PDV as they came.

    `last` is set on the final bytes of a message's command set or data set (PS3.8 E.2).

    `data` is valid until the next `next_event`; it may be empty.
    """

    context_id: int
    command: bool
    last: bool
    data: memoryview


class PduReader:
    """The parser of received bytes into control PDUs and fragments."""

    def __init__(self, limits: Limits, pool: BufferPool) -> None:
        self._max_pdu = limits.max_pdu
        self._offered = False
        self._limits = limits
        self._pool = pool
        self._buffer: bytearray | None = None
        self._start = self._end = 0
        self._pending = b""  # unread bytes while there is no buffer
        self._view: memoryview | None = None  # issued, and valid until the next item is asked for
        self._pdu_left = 0  # bytes of the current P-DATA-TF that were not read
        self._pdv: tuple[int, bool, bool] | None = None  # context id, command, last
        self._pdv_left = 0
        self._pdvs = 0  # PDVs and their bytes in the current count
        self._pdv_bytes = 0

    def offer(self, max_pdu: int) -> None:
        """Record the largest P-DATA-TF that we reported the peer to send.

        There is an association, or one of our own is asked for.
        """
        self._max_pdu = max_pdu
        self._offered = True

    @property
    def inside(self) -> bool:
        """Return whether a PDU has begun and is not complete."""
        return bool(self._pdu_left or self._pdv or self._pending or self._start < self._end)

    def get_buffer(self, size_hint: int) -> memoryview:
        """Return space behind what is unread.

        Bytes that were issued as a view are not moved.
        """
        if self._buffer is None:
            # Whoever has not been accepted gets little: many can stop in the middle of an
            # A-ASSOCIATE-RQ at the same moment.
            self._buffer = self._pool.take() if self._offered else bytearray(UNPROVEN)
            if len(self._pending) >= len(self._buffer):
                self._pool.give(self._buffer)
                self._buffer = bytearray(2 * len(self._pending))
            self._start, self._end = 0, len(self._pending)
            self._buffer[: self._end] = self._pending
            self._pending = b""
        elif self._end == len(
            self._buffer
        ):  # a shell that cannot stop at once, as on Windows; it adds at most one read
            unread = self._buffer[self._start :]
            self._pool.withdraw(self._buffer)
            self._buffer = bytearray(
                len(unread) + max(size_hint, self._pool.large if self._offered else UNPROVEN)
            )
            self._buffer[: len(unread)] = unread
            self._start, self._end = 0, len(unread)
        return memoryview(self._buffer)[self._end :]

    def filled(self, nbytes: int) -> None:
        """Handle that `nbytes` of the last `get_buffer` hold bytes."""
        self._end += nbytes

    def feed(self, data: Bytes) -> None:
        """Copy `data` in, for callers that do not read into the buffer."""
        view = memoryview(data).cast("B")
        while view:
            space = self.get_buffer(len(view))
            n = min(len(space), len(view))
            space[:n] = view[:n]
            self.filled(n)
            view = view[n:]

    def next_item(self) -> Pdu | Fragment | None:
        """Return what comes next, None when more bytes are needed.

        ViolationError when the peer may not send this.
        """
        if self._view is not None:
            self._view.release()
            self._view = None
        while True:
            if self._pdv is not None:
                if self._pdv_left and self._start == self._end:
                    self._exhausted()
                    return None
                return self._fragment(*self._pdv)
            if self._pdu_left:
                if (header := self._peek(PDV_OVERHEAD)) is None:
                    self._exhausted()
                    return None
                self._open_pdv(*_PDV_HEADER.unpack(header))
                continue
            if (header := self._peek(HEADER_LENGTH)) is None:
                self._exhausted()
                return None
            kind, length = _PDU_HEADER.unpack(header)
            self._judge_length(kind, length)
            if kind == PduType.DATA_TF:
                self._start += HEADER_LENGTH
                self._pdu_left = length
            elif (whole := self._peek(HEADER_LENGTH + length)) is None:
                self._exhausted()
                return None
            else:
                self._start += len(whole)
                return decode_pdu(kind, whole[HEADER_LENGTH:])

    def let_go(self) -> None:
        """Leave the last view to whoever holds it.

        The association ended without asking its consumer.
        """
        if self._view is not None and self._buffer is not None:
            self._pending = bytes(memoryview(self._buffer)[self._start : self._end])
            self._pool.withdraw(self._buffer)
            self._buffer = self._view = None
            self._start = self._end = 0

    def discard(self) -> None:
        """Discard every byte that was not read."""
        self._start = self._end
        self._pdu_left = self._pdv_left = 0
        self._pdv = None
        self._exhausted()

    def _peek(self, size: int) -> bytes | None:
        if self._end - self._start < size or self._buffer is None:
            return None
        return bytes(memoryview(self._buffer)[self._start : self._start + size])

    def _judge_length(self, kind: int, length: int) -> None:
        match kind:
            case PduType.DATA_TF:
                limit = self._max_pdu  # PS3.8 D.1
            case PduType.ASSOCIATE_RQ | PduType.ASSOCIATE_AC:
                limit = MAX_ASSOCIATE_LENGTH
            case PduType.ASSOCIATE_RJ | PduType.RELEASE_RQ | PduType.RELEASE_RP | PduType.ABORT:
                limit = 4
            case _:
                raise ViolationError(
                    f"PDU type {kind:02X} is unknown", AbortReason.UNRECOGNIZED_PDU
                )
        if length > limit:
            raise ViolationError(
                f"a PDU of type {kind:02X} claims {length} bytes, allowed are {limit}",
                AbortReason.INVALID_PARAMETER,
            )
        if kind == PduType.DATA_TF and length < PDV_OVERHEAD:  # PS3.8 9.3.5: one or more PDVs
            raise ViolationError("a P-DATA-TF without a PDV", AbortReason.INVALID_PARAMETER)

    def _open_pdv(self, length: int, context_id: int, control: int) -> None:
        if not 2 <= length <= self._pdu_left - 4:  # the length counts the two bytes after it
            raise ViolationError(
                f"a PDV of {length} bytes in a P-DATA-TF with {self._pdu_left} left",
                AbortReason.INVALID_PARAMETER,
            )
        self._start += PDV_OVERHEAD
        self._pdu_left -= 4 + length
        self._pdv_left = length - 2
        self._pdv = (context_id, bool(control & _COMMAND), bool(control & _LAST))
        self._count(self._pdv_left)
        if 0 < self._pdu_left < PDV_OVERHEAD:
            raise ViolationError(
                "a P-DATA-TF ends within a PDV's header", AbortReason.INVALID_PARAMETER
            )

    def _count(self, nbytes: int) -> None:
        self._pdvs += 1
        self._pdv_bytes += nbytes
        if self._pdvs >= self._limits.tiny_count:
            if self._pdv_bytes < self._limits.tiny_bytes * self._pdvs:
                raise ViolationError(
                    f"{self._pdvs} PDVs carried {self._pdv_bytes} bytes in all",
                    AbortReason.NOT_SPECIFIED,
                )
            self._pdvs = self._pdv_bytes = 0

    def _fragment(self, context_id: int, command: bool, last: bool) -> Fragment:
        n = min(self._pdv_left, self._end - self._start)
        view = self._view = memoryview(self._buffer or b"")[self._start : self._start + n]
        self._start += n
        self._pdv_left -= n
        if self._pdv_left:
            last = False
        else:
            self._pdv = None
        return Fragment(context_id, command, last, view)

    def _exhausted(self) -> None:
        """Release the buffer: there is nothing more to read from it."""
        if self._buffer is not None:
            self._pending = bytes(memoryview(self._buffer)[self._start : self._end])
            self._pool.give(self._buffer)
            self._buffer = None
            self._start = self._end = 0
