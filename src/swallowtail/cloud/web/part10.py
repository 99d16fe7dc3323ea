"""The Part 10 header that is written before a data set on its way out (PS3.10 7.1); what is kept has none."""

from typing import Final

from swallowtail.cloud.model.imaging import Instance
from swallowtail.dicom import uids

PREAMBLE: Final = bytes(128) + b"DICM"
"""Zeros always: a preamble that a sender chose could be a program (CVE-2019-11687)."""


def part10_header(instance: Instance) -> bytes:
    """Give everything that stands before the data set in a file."""
    identity = instance.identity
    group = b"".join(
        (
            b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01",
            _element(0x0002, b"UI", instance.sop_class),
            _element(0x0003, b"UI", identity.sop_instance),
            _element(0x0010, b"UI", identity.transfer_syntax),
            _element(0x0012, b"UI", uids.IMPLEMENTATION_CLASS_UID),
            _element(0x0013, b"SH", uids.IMPLEMENTATION_VERSION_NAME),
            _element(0x0016, b"AE", instance.origin.calling_ae) if instance.origin.calling_ae else b"",
        )
    )
    return PREAMBLE + b"\x02\x00\x00\x00UL\x04\x00" + len(group).to_bytes(4, "little") + group


def _element(number: int, kind: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\0" if kind == b"UI" else b" "  # PS3.5 6.2
    return b"\x02\x00" + number.to_bytes(2, "little") + kind + len(value).to_bytes(2, "little") + value
