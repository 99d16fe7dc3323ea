"""Small real data sets, in Explicit VR Little Endian.

What an index can read, and rules can judge.
"""

import random
import struct
from typing import Final

from swallowtail.dicom import uids
from tests.world.oracle import Instance
from tests.world.sending import ROOT, SOP_CLASSES

SIZES: Final = (0, 0, 200, 3_000, 20_000, 65_528, 120_000)
LONG: Final = frozenset({"OB"})
PADDED_BY_NUL: Final = frozenset({"OB", "UI"})


def element(group: int, number: int, vr: str, value: bytes) -> bytes:
    """Encode one element (PS3.5 7.1.2)."""
    value += (b"\0" if vr in PADDED_BY_NUL else b" ") * (len(value) % 2)
    length = struct.pack("<HI", 0, len(value)) if vr in LONG else struct.pack("<H", len(value))
    return struct.pack("<HH2s", group, number, vr.encode()) + length + value


def data_set(
    sop_class: str, sop_instance: str, study: str, patient: str, number: int, bulk: bytes
) -> bytes:
    """Give an instance of an invented patient."""
    return b"".join((
        element(0x0008, 0x0016, "UI", sop_class.encode()),
        element(0x0008, 0x0018, "UI", sop_instance.encode()),
        element(0x0008, 0x0060, "CS", b"US"),
        element(0x0010, 0x0010, "PN", b"Heron^Ada"),
        element(0x0010, 0x0020, "LO", patient.encode()),
        element(0x0020, 0x000D, "UI", study.encode()),
        element(0x0020, 0x000E, "UI", f"{study}.1".encode()),
        element(0x0020, 0x0013, "IS", str(number).encode()),
        element(0x0042, 0x0011, "OB", bulk),
    ))  # fmt: skip


def draw_data_sets(random_source: random.Random, seed: int, modality: str) -> list[Instance]:
    """Draw what a modality has to send, of two patients in turn."""
    drawn: list[Instance] = []
    for number in range(random_source.randint(2, 8)):
        whose = random_source.randint(1, 2)
        study = f"{ROOT}.{seed}.{ord(modality[-1])}.{whose}"
        uid, sop_class = f"{study}.9.{number}", random_source.choice(SOP_CLASSES)
        data = data_set(
            sop_class,
            uid,
            study,
            f"{modality}-{whose}",
            number,
            random_source.randbytes(random_source.choice(SIZES)),
        )
        drawn.append(Instance(sop_class, uid, uids.EXPLICIT_VR_LITTLE_ENDIAN, data))
    return drawn
