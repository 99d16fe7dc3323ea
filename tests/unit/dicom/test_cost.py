"""What a hostile peer costs the machine.

2 MiB at most, however much it sends (threats 14 to 16).
"""

import struct
import tracemalloc
from collections.abc import Iterator
from itertools import chain, islice, repeat

import pytest

from swallowtail.dicom import commands
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.dimse import Dimse
from swallowtail.dicom.indications import AssociateRequested
from swallowtail.dicom.negotiation import answer
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu_codec import encode_pdu
from swallowtail.dicom.violations import ViolationError
from swallowtail.sansio.machine import Signal
from tests.dicom.pair import CT, CT_CONTEXT, POLICY, REQUEST

MOST = 2 << 20
SENT = 16 << 20
PIECE = bytes(16_384)
STORE = commands.encode(commands.store_request(1, CT, "1.2.3"))


def pdv(data: bytes, control: int) -> bytes:
    return struct.pack(">BxIIBB", 4, len(data) + 6, len(data) + 2, CT_CONTEXT, control) + data


def feed(machine: Dimse, pieces: Iterator[bytes]) -> tuple[int, bool]:
    """Feed as the pump does and look at every event.

    Gives how many bytes were taken, and whether they were refused.
    """
    taken = 0
    for piece in pieces:
        view = memoryview(piece)
        while view:
            space = machine.get_buffer(len(view))
            size = min(len(space), len(view))
            space[:size], view = view[:size], view[size:]
            machine.buffer_updated(size, 0.0)
            taken += size
            try:
                while not isinstance(event := machine.next_event(), Signal):
                    if isinstance(event, AssociateRequested):
                        machine.accept(answer(event.request, POLICY), 0.0)
            except ViolationError:
                return taken, True
    return taken, False


REQUESTED = encode_pdu(REQUEST)
ATTACKS: dict[str, tuple[bytes, bytes, int | None]] = {
    "4 GiB A-ASSOCIATE-RQ": (b"\x01\0\xff\xff\xff\xff", PIECE, 70_000),
    "4 GiB P-DATA-TF": (REQUESTED + b"\x04\0\xff\xff\xff\xff", PIECE, 70_000),
    "a command set without end": (REQUESTED, pdv(bytes(1000), 1), 200_000),
    "PDVs of one byte": (REQUESTED + pdv(STORE, 3), pdv(b"x", 0), 200_000),
    "empty PDVs": (REQUESTED + pdv(STORE, 3), pdv(b"", 0), 200_000),
    "a data set without end": (
        REQUESTED + pdv(STORE, 3),
        pdv(PIECE, 0),
        None,
    ),  # its cap is the listener's, see link.store
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_costs_no_more_than_2_mib(name: str) -> None:
    greeting, piece, most = ATTACKS[name]
    machine = Dimse(Limits(), BufferPool(), 0.0)
    machine.accepted_transport(0.0)
    tracemalloc.start()
    try:
        taken, refused = feed(machine, chain([greeting], islice(repeat(piece), SENT // len(piece))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST
    assert refused is (most is not None)
    if most is not None:
        assert taken <= most, "it ends at its first sign, not when memory is short"


def test_a_crowd_that_stops_in_the_middle_of_its_requests_at_once_costs_no_more_than_2_mib() -> (
    None
):
    pool = BufferPool()
    tracemalloc.start()
    try:
        crowd = [Dimse(Limits(), pool, 0.0) for _ in range(100)]
        for machine in crowd:  # all of them are read before the first is looked at
            machine.accepted_transport(0.0)
            machine.get_buffer(-1)[:40] = REQUESTED[:40]
            machine.buffer_updated(40, 0.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST


def test_a_thousand_dribblers_share_the_large_buffers() -> None:
    pool = BufferPool()
    tracemalloc.start()
    try:
        dribblers = [Dimse(Limits(), pool, 0.0) for _ in range(1000)]
        for machine in dribblers:
            machine.accepted_transport(0.0)
            feed(machine, iter([REQUESTED[:40]]))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert pool.lent == 0
    assert held / len(dribblers) < 16 << 10
