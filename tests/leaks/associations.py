"""What a modality can do wrong, each with a patient in it.

Bytes into a listener's port, up to the answer or the end.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from swallowtail.dicom import commands
from swallowtail.dicom.commands import CommandField, Element, echo_request, request, store_request
from swallowtail.dicom.pdu import (
    AssociateRQ,
    PduType,
    ProposedContext,
    UserIdentity,
    UserInformation,
)
from swallowtail.dicom.pdu_codec import encode_pdu
from tests.leaks.canary import DESCRIPTION, PATIENT, STUDY_UID, TEXT

US: Final = "1.2.840.10008.5.1.4.1.1.6.1"
VERIFICATION: Final = "1.2.840.10008.1.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
STORE, ECHO = 1, 3  # ids of the presentation contexts
ROOT: Final = "2.25.190739518264077713"
CANARY: Final = TEXT.encode()
ABORT: Final = b"\x07\0\0\0\0\x04\0\0\0\0"
RELEASE: Final = b"\x05\0\0\0\0\x04\0\0\0\0"
REQUEST: Final = AssociateRQ(
    "SWALLOWTAIL",
    "US1",
    (ProposedContext(STORE, US, (EXPLICIT,)), ProposedContext(ECHO, VERIFICATION, (IMPLICIT,))),
)


def element(group: int, number: int, vr: str, value: bytes) -> bytes:
    """Give an element in Explicit VR Little Endian."""
    value += (b"\0" if vr in ("UI", "OB", "OW") else b" ") * (len(value) % 2)
    head = struct.pack("<HH2s", group, number, vr.encode())
    return (
        head
        + (
            struct.pack("<HI", 0, len(value))
            if vr in ("OB", "OW")
            else struct.pack("<H", len(value))
        )
        + value
    )


def data_set(uid: str, pixels: int = 20_000, *, charset: bytes = b"ISO_IR 192") -> bytes:
    """Give an ultrasound image of the patient."""
    return b"".join((
        element(0x0008, 0x0005, "CS", charset),
        element(0x0008, 0x0016, "UI", US.encode()),
        element(0x0008, 0x0018, "UI", uid.encode()),
        element(0x0008, 0x0050, "SH", f"A-{PATIENT.number}".encode()),
        element(0x0008, 0x1030, "LO", DESCRIPTION.encode()),
        element(0x0010, 0x0010, "PN", PATIENT.name.encode()),
        element(0x0010, 0x0020, "LO", PATIENT.number.encode()),
        element(0x0010, 0x0030, "DA", PATIENT.born.encode()),
        element(0x0020, 0x000D, "UI", STUDY_UID.encode()),
        element(0x0020, 0x000E, "UI", f"{STUDY_UID}.1".encode()),
        element(0x7FE0, 0x0010, "OW", (CANARY * (pixels // len(CANARY) + 1))[:pixels]),
    ))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """A connection to a listener."""

    socket: socket.socket

    def send(self, data: bytes) -> None:
        """Send; a peer that has hung up already is as good."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def command(self, command: commands.Command, context: int = STORE) -> None:
        """Send a command set."""
        self.fragment(commands.encode(command), context, 0x03)

    def fragment(self, data: bytes, context: int = STORE, header: int = 0x00) -> None:
        """Send bytes as one PDV in one P-DATA-TF.

        The header 0 is a data set's fragment, 2 its last.
        """
        pdv = struct.pack(">IBB", len(data) + 2, context, header) + data
        self.send(struct.pack(">BxI", PduType.DATA_TF, len(pdv)) + pdv)

    def store(self, uid: str, data: bytes, *, sop_class: str = US) -> None:
        """Send a whole C-STORE."""
        self.command(store_request(1, sop_class, uid))
        for at in range(0, len(data), 16_000):
            self.fragment(data[at : at + 16_000], header=0x02 if at + 16_000 >= len(data) else 0x00)

    def answer(self) -> bytes:
        """Give the peer's next PDU, empty when it has hung up."""
        try:
            head = self.socket.recv(6, socket.MSG_WAITALL)
            return (
                head + self.socket.recv(int.from_bytes(head[2:], "big"), socket.MSG_WAITALL)
                if len(head) == 6
                else b""
            )
        except ConnectionResetError:
            return b""

    def status(self) -> int:
        """Give the status of the response that comes, -1 when none does."""
        answer = self.answer()
        if answer[:1] != b"\x04":
            return -1
        found = commands.decode(answer[12:]).number(Element.STATUS)
        return found if found is not None else -1

    def reset(self) -> None:
        """End the connection by a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@contextmanager
def connected(port: int) -> Iterator[Line]:
    """Connect to a listener."""
    with socket.create_connection(("127.0.0.1", port), timeout=40) as plain:
        yield Line(plain)


@contextmanager
def associated(port: int, asked: AssociateRQ = REQUEST) -> Iterator[Line]:
    """Have an association, or what came of the wish for it."""
    with connected(port) as line:
        line.send(encode_pdu(asked))
        line.answer()
        yield line


def proposing(abstract: str, *syntaxes: str) -> AssociateRQ:
    """Give a request for one presentation context."""
    return replace(REQUEST, contexts=(ProposedContext(STORE, abstract, syntaxes or (EXPLICIT,)),))


def _raw(data: bytes) -> Callable[[int], bytes]:
    def path(port: int) -> bytes:
        with connected(port) as line:
            line.send(data)
            line.socket.shutdown(socket.SHUT_WR)
            return line.answer()

    return path


def _asking(asked: AssociateRQ, then: bytes = b"") -> Callable[[int], bytes]:
    return _raw(encode_pdu(asked) + then)


def _saying(
    *pieces: Callable[[Line], None], asked: AssociateRQ = REQUEST
) -> Callable[[int], bytes]:
    """An association on which this is said; gives what comes back first."""

    def path(port: int) -> bytes:
        with associated(port, asked) as line:
            for piece in pieces:
                piece(line)
            line.socket.shutdown(socket.SHUT_WR)
            return line.answer()

    return path


def _begun(line: Line) -> None:
    line.command(store_request(1, US, f"{ROOT}.77"))
    line.fragment(data_set(f"{ROOT}.77"))


def _pdv(length: int, content: bytes) -> bytes:
    body = struct.pack(">I", length) + content
    return struct.pack(">BxI", PduType.DATA_TF, len(body)) + body


def _storing(
    uid: str, data: bytes, *, asked: AssociateRQ = REQUEST, sop_class: str = US
) -> Callable[[int], bytes]:
    return _saying(lambda line: line.store(uid, data, sop_class=sop_class), asked=asked)


def _user(**fields: object) -> AssociateRQ:
    return replace(REQUEST, user=replace(UserInformation(), **fields))


_PATIENT_COMMAND = {
    Element.COMMAND_FIELD: CommandField.C_STORE_RQ,
    Element.MESSAGE_ID: 1,
    Element.DATA_SET_TYPE: 1,
}
_find = request(
    CommandField.C_FIND_RQ,
    1,
    data_set=True,
    elements={Element.AFFECTED_SOP_CLASS: "1.2.840.10008.5.1.4.31"},
)

PATHS: Final[dict[str, Callable[[int], bytes]]] = {
    "garbage instead of an association": _raw(CANARY * 10),
    "a PDU of 4 GiB": _raw(b"\x01\0\xff\xff\xff\xff" + CANARY),
    "a PDU of an unknown type": _raw(b"\x55\0" + struct.pack(">I", len(CANARY)) + CANARY),
    "data before an association": _raw(_pdv(len(CANARY) + 2, b"\x01\0" + CANARY)),
    "half an association request": _raw(
        encode_pdu(_user(identity=UserIdentity(1, False, CANARY)))[:-20]
    ),
    "another called AE title": _asking(replace(REQUEST, called="NOBODY"), CANARY),
    "another application context": _asking(
        replace(REQUEST, application_context=PATIENT.name), CANARY
    ),
    "another protocol version": _asking(replace(REQUEST, protocol_version=2), CANARY),
    "a user identity": _asking(_user(identity=UserIdentity(2, True, CANARY, CANARY)), CANARY),
    "an implementation named after the patient": _asking(
        _user(implementation_version=PATIENT.number), CANARY
    ),
    "a SOP class that is none": _asking(proposing(PATIENT.name), CANARY),
    "a transfer syntax that is none": _asking(proposing(US, PATIENT.name), CANARY),
    "data on a refused context": _saying(lambda line: line.fragment(CANARY, 99)),
    "data before a command": _saying(lambda line: line.fragment(CANARY)),
    "an empty PDV": _saying(_begun, lambda line: line.send(_pdv(0, CANARY))),
    "a PDV longer than its PDU": _saying(
        _begun, lambda line: line.send(_pdv(5_000, b"\x01\0" + CANARY))
    ),
    "a PDU longer than agreed": _saying(_begun, lambda line: line.fragment(CANARY * 6_000)),
    "a PDU that ends early": _saying(lambda line: line.send(b"\x04\0\0\0\xff\xff" + CANARY)),
    "fragments of one byte": _saying(_begun, *[lambda line: line.fragment(b"Q")] * 1_100),
    "a command set of garbage": _saying(lambda line: line.fragment(CANARY, header=0x03)),
    "a command set without end": _saying(
        *[lambda line: line.fragment(CANARY * 100, header=0x01)] * 12
    ),
    "a command set without a message id": _saying(
        lambda line: line.fragment(
            commands.encode(commands.Command({Element.ERROR_COMMENT: TEXT[:64]})), header=0x03
        )
    ),
    "a command with the patient in it": _saying(
        lambda line: line.command(
            commands.Command({**_PATIENT_COMMAND, Element.ERROR_COMMENT: TEXT[:64]})
        )
    ),
    "a SOP instance UID that is a name": _storing(PATIENT.name, data_set(f"{ROOT}.2")),
    "a SOP instance UID that is a path": _storing(f"../../{PATIENT.number}", data_set(f"{ROOT}.3")),
    "a SOP instance UID that is too long": _storing(f"{ROOT}.{'1' * 60}", data_set(f"{ROOT}.4")),
    "another SOP class than agreed": _storing(
        f"{ROOT}.5", data_set(f"{ROOT}.5"), sop_class=PATIENT.name
    ),
    "a second command within a data set": _saying(
        _begun, lambda line: line.command(store_request(2, US, f"{ROOT}.6"))
    ),
    "a release within a data set": _saying(_begun, lambda line: line.send(RELEASE)),
    "an abort within a data set": _saying(_begun, lambda line: line.send(ABORT)),
    "the end of the connection within a data set": _saying(_begun),
    "a query where only stores are served": _saying(
        lambda line: line.command(_find),
        lambda line: line.fragment(data_set(f"{ROOT}.8", 0), header=0x02),
    ),
    "a query on the context of echoes": _saying(
        lambda line: line.command(_find, ECHO),
        lambda line: line.fragment(data_set(f"{ROOT}.8", 0), ECHO, 0x02),
    ),
    "an echo with a data set": _saying(
        lambda line: line.command(echo_request(1, VERIFICATION), ECHO),
        lambda line: line.fragment(CANARY, ECHO, 0x02),
    ),
    "a data set that ends early": _storing(f"{ROOT}.10", data_set(f"{ROOT}.10")[:700]),
    "a data set of garbage": _storing(f"{ROOT}.11", CANARY * 50),
    "a data set with another UID": _storing(f"{ROOT}.12", data_set(f"{ROOT}.13")),
    "a data set in an unknown character set": _storing(
        f"{ROOT}.14", data_set(f"{ROOT}.14", charset=PATIENT.number.encode())
    ),
    "a data set with lengths that lie": _storing(
        f"{ROOT}.15",
        data_set(f"{ROOT}.15", 0)[:-12]
        + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 2**31)
        + CANARY,
    ),
    "a data set that says it is deflated": _storing(
        f"{ROOT}.16", CANARY * 50, asked=proposing(US, DEFLATED)
    ),
    "a UID again with other content": _storing(f"{ROOT}.1", data_set(f"{ROOT}.1", 100)),
}


def reset_within_a_data_set(port: int) -> None:
    """A sender that crashes: the connection ends by a RST."""
    with associated(port) as line:
        _begun(line)
        line.reset()
