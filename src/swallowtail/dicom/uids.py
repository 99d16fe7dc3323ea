"""UIDs by name and kind.

The tables are generated from PS3.6 Annex A; what the standard does not list is still a legal UID.
"""

import re
from typing import Final

from swallowtail.dicom.uid_table import (
    OTHER_SOP_CLASSES,
    OTHER_TRANSFER_SYNTAXES,
    OTHER_UIDS,
    STORAGE_CLASSES,
    TRANSFER_SYNTAXES,
)

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
VERIFICATION: Final = "1.2.840.10008.1.1"
IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"

# UUID-derived root of PS3.5 B.2: unique without a registration. The second arc set is the
# implementation's version.
IMPLEMENTATION_CLASS_UID: Final = "2.25.43588546811154707189608633181949904005.1"
IMPLEMENTATION_VERSION_NAME: Final = "SWALLOWTAIL_0"

_TABLES: Final = (
    STORAGE_CLASSES,
    OTHER_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    OTHER_TRANSFER_SYNTAXES,
    OTHER_UIDS,
)
MAX_LENGTH: Final = 64
PATTERN: Final = r"[0-9]+(\.[0-9]+)*"
"""Components of digits, none empty. PS3.5 9.1 also forbids leading zeros, but some modalities send
them; UIDs are compared as text, so they do no harm."""
_UID: Final = re.compile(PATTERN)


def is_valid(uid: str) -> bool:
    """Return whether `uid` is a UID (PS3.5 9.1); leading zeros of a component are tolerated."""
    return len(uid) <= MAX_LENGTH and _UID.fullmatch(uid) is not None


def is_storage(uid: str) -> bool:
    """Return whether `uid` is a storage SOP class, also a retired one (PS3.4 Annexes B, GG)."""
    return uid in STORAGE_CLASSES


def is_transfer_syntax(uid: str) -> bool:
    """Return whether `uid` is a transfer syntax of the standard for data sets, retired or not."""
    return uid in TRANSFER_SYNTAXES


def name_of(uid: str) -> str:
    """Return the standard's name of `uid`, or `uid` itself when the standard has none."""
    for table in _TABLES:
        if uid in table:
            return table[uid]
    return uid
