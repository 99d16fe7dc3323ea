"""DIMSE statuses as data: PS3.7 Annex C and the service classes of PS3.4."""

import enum
from typing import Final


class Category(enum.Enum):
    """PS3.7 C.1 to C.5."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    CANCEL = "cancel"
    PENDING = "pending"


class Status(enum.IntEnum):
    """The statuses that we send, and those that we name when a peer sends them."""

    SUCCESS = 0x0000
    ATTRIBUTE_LIST_ERROR = 0x0107
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    CLASS_INSTANCE_CONFLICT = 0x0119
    DUPLICATE_SOP_INSTANCE = 0x0111
    DUPLICATE_INVOCATION = 0x0210
    INVALID_ARGUMENT_VALUE = 0x0115
    INVALID_ATTRIBUTE_VALUE = 0x0106
    INVALID_SOP_INSTANCE = 0x0117
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    MISTYPED_ARGUMENT = 0x0212
    NO_SUCH_ACTION = 0x0123
    NO_SUCH_ARGUMENT = 0x0114
    NO_SUCH_ATTRIBUTE = 0x0105
    NO_SUCH_EVENT_TYPE = 0x0113
    NO_SUCH_SOP_CLASS = 0x0118
    NO_SUCH_SOP_INSTANCE = 0x0112
    NOT_AUTHORIZED = 0x0124
    PROCESSING_FAILURE = 0x0110
    RESOURCE_LIMITATION = 0x0213
    UNRECOGNIZED_OPERATION = 0x0211
    OUT_OF_RESOURCES = 0xA700
    OUT_OF_RESOURCES_MATCHES = 0xA701
    OUT_OF_RESOURCES_SUBOPERATIONS = 0xA702
    MOVE_DESTINATION_UNKNOWN = 0xA801
    DATA_SET_MISMATCH = 0xA900
    COERCED = 0xB000  # C-STORE; for C-MOVE and C-GET: complete, with failures
    ELEMENTS_DISCARDED = 0xB006
    DATA_SET_WARNING = 0xB007
    CANNOT_UNDERSTAND = 0xC000
    UNABLE_TO_PROCESS = 0xC001
    CANCEL = 0xFE00
    PENDING = 0xFF00
    PENDING_OPTIONAL_KEYS = 0xFF01


_NAMES: Final = {status.value: status.name.replace("_", " ").lower() for status in Status}
_WARNINGS: Final = {0x0001, Status.ATTRIBUTE_LIST_ERROR, 0x0116}


def category_of(status: int) -> Category:
    """Return what kind of answer `status` is; what no table lists is a failure."""
    if status == Status.SUCCESS:
        return Category.SUCCESS
    if status in {Status.PENDING, Status.PENDING_OPTIONAL_KEYS}:
        return Category.PENDING
    if status == Status.CANCEL:
        return Category.CANCEL
    return Category.WARNING if status in _WARNINGS or status >> 12 == 0xB else Category.FAILURE


def describe(status: int) -> str:
    """Report `status` for people, like `A700 out of resources (failure)`."""
    return f"{status:04X} {_NAMES.get(status, 'not named here')} ({category_of(status).value})"
