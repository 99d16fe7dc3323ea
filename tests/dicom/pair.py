"""Two real machines joined by a pretend wire, which may cut the bytes anywhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from swallowtail.dicom import uids
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.dimse import DataSetFragment, Dimse
from swallowtail.dicom.indications import AssociateRequested
from swallowtail.dicom.negotiation import AcceptorPolicy, answer, propose
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import AssociateRQ
from swallowtail.sansio.machine import Signal

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = uids.EXPLICIT_VR_LITTLE_ENDIAN
REQUEST = propose(
    "SWALLOWTAIL",
    "HERON",
    [(uids.VERIFICATION, (uids.IMPLICIT_VR_LITTLE_ENDIAN,)), (CT, (EXPLICIT,))],
)
ECHO_CONTEXT, CT_CONTEXT = 1, 3
POLICY = AcceptorPolicy(any_storage=True)


def _small(pdu_size: int) -> tuple[AssociateRQ, AcceptorPolicy]:
    return replace(REQUEST, user=replace(REQUEST.user, max_pdu=pdu_size)), replace(
        POLICY, max_pdu=pdu_size
    )


SMALL_REQUEST, SMALL_POLICY = _small(601)


class End:
    """One machine with what it has told so far; views are copied, since they do not last."""

    def __init__(self, limits: Limits, pool: BufferPool) -> None:
        self.machine = Dimse(limits, pool, 0.0)
        self.events: list[Any] = []
        self.data = bytearray()
        self.sent = bytearray()

    def pull(self) -> Signal:
        """Take every event there is."""
        while not isinstance(event := self.machine.next_event(), Signal):
            if isinstance(event, DataSetFragment):
                self.data += event.data
                if not event.last:
                    continue
                event = ("data set", bytes(self.data))
                self.data = bytearray()
            self.events.append(event)
        return event


class Pair:
    """A requestor and an acceptor; `exchange` carries bytes both ways until both are silent."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        cut: Callable[[int], int] = lambda size: size,
        buffer_size: int = 4096,
    ) -> None:
        limits = limits or Limits()
        pool = self.pool = BufferPool(buffer_size)
        self.cut = cut
        self.now = 0.0
        self.requestor = End(limits, pool)
        self.acceptor = End(limits, pool)
        self.acceptor.machine.accepted_transport(0.0)

    def associate(self, request: AssociateRQ = REQUEST, policy: AcceptorPolicy = POLICY) -> None:
        """Establish an association."""
        self.requestor.machine.associate(request, self.now)
        self.requestor.machine.connected(self.now)
        self.exchange()
        assert self.acceptor.events == [AssociateRequested(request)]
        self.acceptor.machine.accept(answer(request, policy), self.now)
        self.exchange()
        self.acceptor.events.clear()
        self.requestor.events.clear()

    def exchange(self) -> None:
        """Carry bytes until nothing moves; a finished machine's transport is closed."""
        while any(
            [self.carry(self.requestor, self.acceptor), self.carry(self.acceptor, self.requestor)]
        ):
            pass
        for here, there in ((self.requestor, self.acceptor), (self.acceptor, self.requestor)):
            if here.machine.finished:
                there.machine.receive_eof(self.now)
                there.pull()

    def carry(self, source: End, target: End) -> bool:
        """Carry what `source` wants written now; whether there was something."""
        data = source.machine.data_to_send()
        source.sent += data
        view = memoryview(data)
        while view:
            size = max(1, self.cut(len(view)))
            target.machine.receive_data(view[:size], self.now)
            target.pull()
            view = view[size:]
        return bool(data)
