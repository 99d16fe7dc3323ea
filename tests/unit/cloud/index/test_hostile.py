"""Data sets made to break a reader: each is judged within its limits, by the real parser."""

import io
import struct
import time
import zlib

import pytest

from swallowtail.cloud.data_set.elements import MAX_DEPTH, MAX_ITEMS
from swallowtail.cloud.index.parse import parse
from swallowtail.cloud.model.indexing import Indexed, Quarantined
from tests.unit.cloud.data_set.test_elements import item, long, nested, short
from tests.unit.cloud.index.data_sets import job

EXPLICIT, DEFLATED, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2"
US = "1.2.840.10008.5.1.4.1.1.6.1"
IDENTITY = b"".join(
    short(tag, uid.encode() + b"\0" * (len(uid) % 2), b"UI")
    for tag, uid in (
        (0x00080016, US),
        (0x00080018, "1.2.3"),
        (0x0020000D, "1.2.1"),
        (0x0020000E, "1.2.2"),
    )
)


def verdict(content: bytes, syntax: str = EXPLICIT) -> Indexed | Quarantined:
    stored = job(content, sop_instance="1.2.3", sop_class=US, syntax=syntax)
    return parse(stored, io.BytesIO(content))


def deflated(content: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(content) + compress.flush()


def implicit_nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        inner = item(content)
        content = struct.pack("<HHI", 0x0008, 0x1140, len(inner)) + inner
    return content


@pytest.mark.parametrize(
    ("content", "syntax", "problem"),
    [
        (IDENTITY + nested(500), EXPLICIT, "deep"),
        (implicit_nested(500), IMPLICIT, "deep"),
        (IDENTITY + long(0x00081140, item(b"") * 2_000_000), EXPLICIT, "items"),
        (
            IDENTITY + long(0x7FE00010, bytes(1000), b"OW", 0xFFFFFFFE),
            EXPLICIT,
            "claims 4294967294 bytes",
        ),
        (deflated(IDENTITY + bytes(128 * 1024 * 1024)), DEFLATED, "inflates"),
        (b"\xff" * 1000, EXPLICIT, "VR"),
    ],
    ids=["nested", "nested implicit", "items", "lying length", "bomb", "noise"],
)
def test_it_is_quarantined_soon(content: bytes, syntax: str, problem: str) -> None:
    begun = time.process_time()
    outcome = verdict(content, syntax)
    assert isinstance(outcome, Quarantined)
    assert problem in outcome.problem
    assert time.process_time() - begun < 15


@pytest.mark.parametrize(
    "content",
    [nested(MAX_DEPTH), long(0x00081140, item(b"") * (MAX_ITEMS // 10))],
    ids=["depth", "items"],
)
def test_what_is_within_the_limits_is_indexed(content: bytes) -> None:
    outcome = verdict(IDENTITY + content)
    assert isinstance(outcome, Indexed), outcome
    assert outcome.study.uid == "1.2.1"


@pytest.mark.parametrize(
    "value", [b"\x1b$B\xff\xff\x1b", b"=" * 64, b"\\" * 64, b"\0" * 64, bytes(range(64))]
)
def test_odd_values_harm_nobody(value: bytes) -> None:
    content = b"".join(
        [
            short(0x00080005, b"ISO 2022 IR 87\\nonsense ", b"CS"),
            IDENTITY,
            short(0x00100010, value, b"PN"),
            short(0x00100020, value, b"LO"),
            short(0x00080020, value, b"DA"),
            short(0x00200013, value[:12], b"IS"),
            short(0x00280030, value[:16], b"DS"),
            short(0x00281050, value[:15], b"FD"),
        ]
    )
    outcome = verdict(content)
    assert isinstance(outcome, Indexed), outcome
    assert "\0" not in outcome.study.patient_name
