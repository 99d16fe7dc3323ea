"""One blob to one outcome.

Runs in a worker process, the only one that loads pydicom; it may be killed at any moment.

First the walk checks the structure, then pydicom reads the elements that are not bulk data, each
exactly as long as the walk found it.
"""

import io
import logging
import warnings
import zlib
from typing import BinaryIO, Final

import msgspec
import pydicom.config
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from swallowtail.cloud.data_set.elements import (
    BIG_ENDIAN,
    DEFLATED,
    IMPLICIT,
    PIXEL_DATA,
    LocatedElement,
    MalformedDataSetError,
    Walk,
    name_of,
)
from swallowtail.cloud.index import attributes, frame_offsets
from swallowtail.cloud.index.json_model import BULK, JsonModel
from swallowtail.cloud.index.source import FileSource, inflated
from swallowtail.cloud.model.indexing import (
    FrameIndex,
    Indexed,
    IndexJob,
    IndexOutcome,
    Quarantined,
)
from swallowtail.cloud.model.transcoding import VIDEOS

_FOREIGN: Final = frozenset({b"SQ", b"UN"})
# in Implicit VR the dictionary has "US or SS"; other elements decide
_AMBIGUOUS: Final = frozenset({b"US", b"OB", b"OW"})
PIXELS: Final = frozenset({PIXEL_DATA, 0x7FE00008, 0x7FE00009})
"""Pixel data of integers and of floating-point numbers (PS3.3 C.7.6.24)."""
_EXTENDED_OFFSETS: Final = 0x7FE00001

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(
    logging.CRITICAL + 1
)  # what it warns of may hold a patient's values


def parse(job: IndexJob, blob: BinaryIO) -> IndexOutcome:
    """Parse a stored data set; any defect of it is an outcome too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _indexed(job, blob)
    except MalformedDataSetError as error:
        problem = str(error)
    except MemoryError:
        problem = "it needs more memory than a worker has"
    # any error of the library on foreign bytes is a verdict on the bytes
    except Exception as error:  # noqa: BLE001
        problem = f"it cannot be read ({type(error).__name__})"
    return Quarantined(tenant=job.tenant, instance=job.instance, problem=problem)


def _indexed(job: IndexJob, blob: BinaryIO) -> Indexed:
    syntax, length = job.identity.transfer_syntax, job.length
    if deflated := syntax in DEFLATED:
        content = inflated(blob, length)
        blob, length = io.BytesIO(content), len(content)
    source = FileSource(blob, length)
    walk = Walk(source, syntax, vr_of)
    elements = walk.elements()
    data = read_elements(source, [one for one in elements if not _is_bulk(one)], syntax)
    _check_identity(job, data, elements)
    image, pixels = (
        attributes.image_of(data),
        next((one for one in elements if one.tag in PIXELS), None),
    )
    found = FrameIndex()
    if image is not None and pixels is not None:
        found = (
            frame_offsets.video(pixels)
            if syntax in VIDEOS
            else _frames(source, elements, pixels, image)
        )
    model = JsonModel(source, data, walk.large, big_endian=syntax == BIG_ENDIAN)
    document = _document(model, elements, implicit=syntax == IMPLICIT)
    if deflated:
        found = FrameIndex()
    if found.encapsulated and found.spans and pixels is not None:
        del model.bulk[f"{pixels.tag:08X}"]  # its frames have positions of their own
    return Indexed(
        tenant=job.tenant,
        instance=job.instance,
        study=attributes.study_of(data),
        series=attributes.series_of(data),
        number=attributes.number(data, "InstanceNumber"),
        rows=image.rows if image else None,
        columns=image.columns if image else None,
        frame_count=image.frames if image and pixels else None,
        frames=msgspec.structs.replace(found, values=model.bulk),
        document=document,
    )


def vr_of(tag: int) -> bytes:
    """Return the dictionary's VR of a tag, b"UN" for an unknown one (`Walk`)."""
    try:
        return dictionary_VR(tag)[:2].encode()
    except KeyError:
        return b"UN"


def _is_bulk(element: LocatedElement) -> bool:
    return element.tag in PIXELS or (element.vr != b"SQ" and element.end - element.start > BULK)


def read_elements(source: FileSource, elements: list[LocatedElement], syntax: str) -> Dataset:
    """Read these elements with pydicom, each exactly as long as the walk found it."""
    parts = (source.take(one.begin, one.end - one.begin) for one in elements)
    content = io.BytesIO(b"".join(parts))
    return read_dataset(
        content, syntax == IMPLICIT, syntax != BIG_ENDIAN, bytelength=content.getbuffer().nbytes
    )


def _check_identity(job: IndexJob, data: Dataset, elements: list[LocatedElement]) -> None:
    if elements and elements[0].tag >> 16 <= 2:
        raise MalformedDataSetError(
            f"it begins with {name_of(elements[0].tag)}, which does not belong into a data set"
        )
    for keyword, stated in (
        ("SOPInstanceUID", job.identity.sop_instance),
        ("SOPClassUID", job.sop_class),
    ):
        if attributes.required_uid(data, keyword) != stated:
            raise MalformedDataSetError(f"its {keyword} is not the one of the command set")


def _frames(
    source: FileSource,
    elements: list[LocatedElement],
    pixels: LocatedElement,
    image: frame_offsets.Image,
) -> FrameIndex:
    if pixels.fragments is None:
        return frame_offsets.native(pixels, image)
    table = next((one for one in elements if one.tag == _EXTENDED_OFFSETS), None)
    extended = b"" if table is None else source.take(table.start, table.end - table.start)
    return frame_offsets.encapsulated(pixels, image, source, extended=extended)


def _document(model: JsonModel, elements: list[LocatedElement], *, implicit: bool) -> bytes:
    """Return the DICOM JSON (PS3.18 Annex F), zlib-compressed."""
    document = {}
    for one in elements:
        foreign = one.vr in _FOREIGN or (implicit and one.vr in _AMBIGUOUS)
        document[f"{one.tag:08X}"] = (
            model.named(one) if _is_bulk(one) else model.value(one, foreign=foreign)
        )
    ordered = {key: document[key] for key in sorted(document)}
    return zlib.compress(msgspec.json.encode(ordered, enc_hook=str), 1)
