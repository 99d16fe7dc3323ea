"""More associations than a listener takes: every peer gets A-ASSOCIATE-RJ (2,3,2), none is cut.

A listener of its own, with the default limits, so that no other test is rejected.
"""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.pdu_codec import encode_pdu
from swallowtail.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from swallowtail.sim.installation import Installation
from swallowtail.sim.modality import Modality
from tests.interop.test_dcmtk import run

LISTENER = "crowded"
LIMIT = DicomListener(name="any", ae_title="ANY", port=104).max_associations_per_address
REQUEST = encode_pdu(propose("SWALLOWTAIL", "US1", [(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]))
ACCEPTED, LIMITED = (2,), (3, 2, 3, 2)


def answer(connection: socket.socket) -> tuple[int, ...]:
    """Read the answer to an association request; () when the connection was cut."""
    head = b""
    while len(head) < 10 and (more := connection.recv(4096)):
        head += more
    return (3, *head[7:10]) if head[:1] == b"\x03" else tuple(head[:1])


@contextmanager
def connected(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Open so many connections, each of which has sent its request."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=20)
            found.append(stack.enter_context(connection))
            connection.sendall(REQUEST)
        yield found


def test_the_thirty_third_association_of_an_address_is_rejected_with_2_3_2(
    site: Installation,
) -> None:
    port = site.port(LISTENER)
    with connected(port, LIMIT) as first:
        assert [answer(one) for one in first] == [ACCEPTED] * LIMIT
        with connected(port, 60) as more:
            assert Counter(answer(one) for one in more) == {LIMITED: 60}
        reported = Modality(port, site.called_ae(LISTENER)).echo().outcome
        assert reported == "rejected (2,3,2)"
        done = run("echoscu", port=port)
        assert done.returncode != 0
        assert "Local Limit Exceeded" in done.stderr
    deadline = time.monotonic() + 20
    while (reported := Modality(port, site.called_ae(LISTENER)).echo().outcome) != "0000":
        assert time.monotonic() < deadline, reported
