"""The DICOM file around a data set (PS3.10 7.1).

Made on the way out, so that the stored bytes stay as they were received.

The preamble is always zero: what a sender may have hidden in one (NEMA, CVE-2019-11687) never was
in the data set.
"""

import struct
from typing import Final

from swallowtail.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

MEDIA_TYPE: Final = "application/dicom"
_PREAMBLE: Final = bytes(128) + b"DICM"


def header(
    sop_class: str,
    sop_instance: str,
    transfer_syntax: str,
    *,
    sending_ae: str = "",
    receiving_ae: str = "",
) -> bytes:
    """Return everything that precedes the data set.

    Preamble, prefix, and group 0002 in Explicit VR Little Endian.
    """
    meta = b"".join(
        [
            _element(0x0001, b"OB", b"\x00\x01"),
            _uid(0x0002, sop_class),
            _uid(0x0003, sop_instance),
            _uid(0x0010, transfer_syntax),
            _uid(0x0012, IMPLEMENTATION_CLASS_UID),
            _text(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            *((_text(0x0017, b"AE", sending_ae),) if sending_ae else ()),
            *((_text(0x0018, b"AE", receiving_ae),) if receiving_ae else ()),
        ]
    )
    return _PREAMBLE + _element(0x0000, b"UL", struct.pack("<I", len(meta))) + meta


def _uid(element: int, uid: str) -> bytes:
    return _element(element, b"UI", _padded(uid.encode("ascii"), b"\0"))


def _text(element: int, vr: bytes, text: str) -> bytes:
    return _element(element, vr, _padded(text.encode("ascii", "replace"), b" "))


def _padded(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) % 2 else value  # PS3.5 7.1.1: lengths are even


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    if vr == b"OB":  # PS3.5 7.1.2: two reserved bytes and a length of four
        return struct.pack("<HH2s2xI", 0x0002, element, vr, len(value)) + value
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value
