"""The command set of a DIMSE message.

PS3.7 6.3.1 and Annex E, always Implicit VR Little Endian, elements ascending.

A command is a mapping from element number (group 0000) to value, with names for what our services
read. A service that comes later needs no new codec: its elements are rows of `ELEMENTS`, its
commands members of `CommandField`.
"""

import enum
import struct
from collections.abc import Mapping
from typing import Final

from swallowtail.dicom.violations import AbortReason, AbortSource, ViolationError

MAX_LENGTH: Final = 65_536

Value = int | str | bytes | tuple[int, ...]

_HEADER: Final = struct.Struct("<HHI")
_NO_DATA_SET: Final = 0x0101  # PS3.7 E.1: any other value means that a data set follows
_DATA_SET: Final = 0x0001
RESPONSE: Final = 0x8000
"""The bit that makes a command field a response (PS3.7 E.1)."""


class CommandField(enum.IntEnum):
    """Value of (0000,0100), PS3.7 E.1; a response has bit 15 set."""

    C_STORE_RQ = 0x0001
    C_GET_RQ = 0x0010
    C_FIND_RQ = 0x0020
    C_MOVE_RQ = 0x0021
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_GET_RQ = 0x0110
    N_SET_RQ = 0x0120
    N_ACTION_RQ = 0x0130
    N_CREATE_RQ = 0x0140
    N_DELETE_RQ = 0x0150
    C_CANCEL_RQ = 0x0FFF
    C_STORE_RSP = 0x8001
    C_GET_RSP = 0x8010
    C_FIND_RSP = 0x8020
    C_MOVE_RSP = 0x8021
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RSP = 0x8100
    N_GET_RSP = 0x8110
    N_SET_RSP = 0x8120
    N_ACTION_RSP = 0x8130
    N_CREATE_RSP = 0x8140
    N_DELETE_RSP = 0x8150


class Priority(enum.IntEnum):
    """Value of (0000,0700)."""

    MEDIUM = 0
    HIGH = 1
    LOW = 2


class Element(enum.IntEnum):
    """Element numbers of group 0000 (PS3.7 E.1)."""

    GROUP_LENGTH = 0x0000
    AFFECTED_SOP_CLASS = 0x0002
    REQUESTED_SOP_CLASS = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    RESPONDED_MESSAGE_ID = 0x0120
    MOVE_DESTINATION = 0x0600
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    OFFENDING_ELEMENT = 0x0901
    ERROR_COMMENT = 0x0902
    ERROR_ID = 0x0903
    AFFECTED_SOP_INSTANCE = 0x1000
    REQUESTED_SOP_INSTANCE = 0x1001
    EVENT_TYPE = 0x1002
    ATTRIBUTE_LIST = 0x1005
    ACTION_TYPE = 0x1008
    REMAINING = 0x1020
    COMPLETED = 0x1021
    FAILED = 0x1022
    WARNING = 0x1023
    MOVE_ORIGINATOR = 0x1030
    MOVE_ORIGINATOR_MESSAGE_ID = 0x1031


# Value representation of each element; what is not listed stays bytes.
ELEMENTS: Final[Mapping[int, str]] = {
    Element.GROUP_LENGTH: "UL",
    Element.AFFECTED_SOP_CLASS: "UI",
    Element.REQUESTED_SOP_CLASS: "UI",
    Element.COMMAND_FIELD: "US",
    Element.MESSAGE_ID: "US",
    Element.RESPONDED_MESSAGE_ID: "US",
    Element.MOVE_DESTINATION: "AE",
    Element.PRIORITY: "US",
    Element.DATA_SET_TYPE: "US",
    Element.STATUS: "US",
    Element.OFFENDING_ELEMENT: "AT",
    Element.ERROR_COMMENT: "LO",
    Element.ERROR_ID: "US",
    Element.AFFECTED_SOP_INSTANCE: "UI",
    Element.REQUESTED_SOP_INSTANCE: "UI",
    Element.EVENT_TYPE: "US",
    Element.ATTRIBUTE_LIST: "AT",
    Element.ACTION_TYPE: "US",
    Element.REMAINING: "US",
    Element.COMPLETED: "US",
    Element.FAILED: "US",
    Element.WARNING: "US",
    Element.MOVE_ORIGINATOR: "AE",
    Element.MOVE_ORIGINATOR_MESSAGE_ID: "US",
}


class Command:
    """One command set.

    Reading an element that the peer left out gives "" or 0; `in` and `get` report the difference.

    Values are evaluated by whoever applies to them: a UID here may be any text (`uids.is_valid`),
    since a wrong one deserves a status and not an abort.
    """

    __slots__ = ("_elements",)

    def __init__(self, elements: Mapping[int, Value]) -> None:
        self._elements = dict(sorted(elements.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Command) and self._elements == other._elements

    def __hash__(self) -> int:
        return hash(tuple(self._elements.items()))

    def __repr__(self) -> str:
        # no instance UIDs: they identify an examination
        return f"<Command {self.field:04X} message {self.message_id}>"

    def __contains__(self, element: int) -> bool:
        return element in self._elements

    def get(self, element: int) -> Value | None:
        """Return one element's value, None when it is absent."""
        return self._elements.get(element)

    def items(self) -> list[tuple[int, Value]]:
        """Return all elements, ascending."""
        return list(self._elements.items())

    def number(self, element: int) -> int:
        """Return a US element's value, 0 when it is absent or not a number."""
        value = self._elements.get(element, 0)
        return value if isinstance(value, int) else 0

    def text(self, element: int) -> str:
        """Return a UI, AE or LO element's value, "" when it is absent."""
        value = self._elements.get(element, "")
        return value if isinstance(value, str) else ""

    @property
    def field(self) -> int:
        """Return the command field, usually a `CommandField`."""
        return self.number(Element.COMMAND_FIELD)

    @property
    def is_response(self) -> bool:
        return bool(self.field & RESPONSE)

    @property
    def is_cancel(self) -> bool:
        """C-CANCEL-RQ: a request that gets no response of its own (PS3.7 9.3.2.3)."""
        return self.field == CommandField.C_CANCEL_RQ

    @property
    def message_id(self) -> int:
        """The request's own id.

        In a response and in C-CANCEL-RQ the id of the request that is meant.
        """
        refers = self.is_response or self.is_cancel
        return self.number(Element.RESPONDED_MESSAGE_ID if refers else Element.MESSAGE_ID)

    @property
    def has_data_set(self) -> bool:
        return self._elements.get(Element.DATA_SET_TYPE, _NO_DATA_SET) != _NO_DATA_SET

    @property
    def status(self) -> int:
        return self.number(Element.STATUS)

    @property
    def sop_class(self) -> str:
        """The affected SOP class, or the requested one."""
        return self.text(Element.AFFECTED_SOP_CLASS) or self.text(Element.REQUESTED_SOP_CLASS)

    @property
    def sop_instance(self) -> str:
        """The affected SOP instance, or the requested one."""
        return self.text(Element.AFFECTED_SOP_INSTANCE) or self.text(Element.REQUESTED_SOP_INSTANCE)


def echo_request(message_id: int, sop_class: str) -> Command:
    """Create a C-ECHO-RQ (PS3.7 9.3.5.1)."""
    return request(
        CommandField.C_ECHO_RQ,
        message_id,
        data_set=False,
        elements={Element.AFFECTED_SOP_CLASS: sop_class},
    )


def store_request(
    message_id: int,
    sop_class: str,
    sop_instance: str,
    *,
    priority: Priority = Priority.MEDIUM,
    move_originator: tuple[str, int] | None = None,
) -> Command:
    """Create a C-STORE-RQ (PS3.7 9.3.1.1).

    `move_originator` is the AE title and message id of the C-MOVE that caused it.
    """
    elements: dict[int, Value] = {
        Element.AFFECTED_SOP_CLASS: sop_class,
        Element.AFFECTED_SOP_INSTANCE: sop_instance,
        Element.PRIORITY: priority,
    }
    if move_originator is not None:
        elements[Element.MOVE_ORIGINATOR], elements[Element.MOVE_ORIGINATOR_MESSAGE_ID] = (
            move_originator
        )
    return request(CommandField.C_STORE_RQ, message_id, data_set=True, elements=elements)


def request(
    field: CommandField, message_id: int, *, data_set: bool, elements: Mapping[int, Value]
) -> Command:
    """Create a request; `elements` are those of its service."""
    return Command(
        {
            **elements,
            Element.COMMAND_FIELD: field,
            Element.MESSAGE_ID: message_id,
            Element.DATA_SET_TYPE: _DATA_SET if data_set else _NO_DATA_SET,
        }
    )


def response_to(
    asked: Command,
    status: int,
    *,
    data_set: bool = False,
    comment: str = "",
    elements: Mapping[int, Value] | None = None,
) -> Command:
    """Return the response to `asked`.

    Its id and its SOP class and instance as affected ones, `comment` cut to 64 characters (PS3.7
    C).
    """
    answer: dict[int, Value] = {
        Element.COMMAND_FIELD: asked.field | RESPONSE,
        Element.RESPONDED_MESSAGE_ID: asked.number(Element.MESSAGE_ID),
        Element.DATA_SET_TYPE: _DATA_SET if data_set else _NO_DATA_SET,
        Element.STATUS: status,
    }
    if asked.sop_class:
        answer[Element.AFFECTED_SOP_CLASS] = asked.sop_class
    if asked.sop_instance:
        answer[Element.AFFECTED_SOP_INSTANCE] = asked.sop_instance
    if comment:
        answer[Element.ERROR_COMMENT] = comment[:64]
    return Command({**answer, **(elements or {})})


def encode(command: Command) -> bytes:
    """Return the command set's bytes, group length first (PS3.7 6.3.1).

    ValueError if a value does not fit its element.
    """
    body = b"".join(
        _encode_element(number, value)
        for number, value in command.items()
        if number != Element.GROUP_LENGTH
    )
    return _encode_element(Element.GROUP_LENGTH, len(body)) + body


def _encode_element(number: int, value: Value) -> bytes:
    raw = _encode_value(ELEMENTS.get(number, "UN"), value)
    return _HEADER.pack(0, number, len(raw)) + raw


def _encode_value(vr: str, value: Value) -> bytes:
    match vr, value:
        case "US", int():
            return value.to_bytes(2, "little")
        case "UL", int():
            return value.to_bytes(4, "little")
        case "AT", tuple():
            return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)
        case "UI" | "AE" | "LO", str():
            raw = value.encode("latin-1")
            return raw + (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)
        case _, bytes():
            return value
    raise ValueError(f"a command element of type {vr} cannot be {type(value).__name__}")


def decode(data: bytes) -> Command:
    """Read a whole command set.

    ViolationError if it cannot be read or lacks what any answer needs.
    """
    elements: dict[int, Value] = {}
    at = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise _unreadable("ends within an element's header")
        group, number, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size + length
        if group != 0 or at > len(data):
            raise _unreadable(
                f"holds ({group:04X},{number:04X}) with {length} bytes, {len(data)} in all"
            )
        if number in elements:
            raise _unreadable(f"holds (0000,{number:04X}) twice")
        if number != Element.GROUP_LENGTH:  # counts nothing that the fragments do not state better
            elements[number] = _decode_value(number, data[at - length : at])
    command = Command(elements)
    named = (
        Element.RESPONDED_MESSAGE_ID
        if command.is_response or command.is_cancel
        else Element.MESSAGE_ID
    )
    for needed in (Element.COMMAND_FIELD, Element.DATA_SET_TYPE, named):
        if not isinstance(elements.get(needed), int):
            raise _unreadable(f"lacks {needed.name} (0000,{needed:04X})")
    return command


def _decode_value(number: int, raw: bytes) -> Value:
    match ELEMENTS.get(number), len(raw):
        case "US", 2:
            return int.from_bytes(raw, "little")
        case (("UI" | "AE" | "LO"), _):
            return raw.decode("latin-1").strip(" \0")
        case "AT", length if length % 4 == 0:
            return tuple(group << 16 | element for group, element in struct.iter_unpack("<HH", raw))
    return raw


def _unreadable(what: str) -> ViolationError:
    return ViolationError(
        f"a command set {what}", AbortReason.INVALID_PARAMETER, AbortSource.SERVICE_USER
    )
