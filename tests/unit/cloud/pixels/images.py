"""Images for the tests of the pixel workers.

Pydicom's files as stored instances, and such as no honest device makes.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pynetdicom.dsutils import split_dataset

from swallowtail.calls.store import Stored
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.model.imaging import Instance, InstanceIdentity, Origin
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.query.part10 import header
from swallowtail.sim.dicom_files import PACKAGE

EXPLICIT = "1.2.840.10008.1.2.1"
NORTH = Tenant("north")


@dataclass(frozen=True)
class Image:
    """A data set as it is stored."""

    name: str
    syntax: str
    body: bytes

    def pixels(self) -> Any:
        """What pydicom's own decoding gives."""
        return dcmread(BytesIO(header("1.2", "1.2", self.syntax) + self.body)).pixel_array


def files() -> list[str]:
    """pydicom's files that have a file meta group."""
    return [
        path.name
        for path in sorted(PACKAGE.glob("*.dcm"))
        if path.read_bytes()[128:132] == b"DICM" and _syntax(path)
    ]


def _syntax(path: Path) -> str:
    return str(split_dataset(path)[0].get("TransferSyntaxUID", ""))


def stored(name: str) -> Image:
    """One of pydicom's files."""
    path = PACKAGE / name
    meta, offset = split_dataset(path)
    return Image(name, str(meta.TransferSyntaxUID), path.read_bytes()[offset:])


def made(pixels: Any = None, **more: Any) -> Image:
    """A grey image of 16 bits, or of what `pixels` is, with elements more or other ones."""
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) if pixels is None else pixels
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.PatientName = (
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.3",
        "Heron^Ada",
    )
    data.Rows, data.Columns, data.SamplesPerPixel = (
        pixels.shape[0],
        pixels.shape[1],
        pixels.shape[2] if pixels.ndim == 3 else 1,
    )
    data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    data.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    data["PixelData"].VR = "OW"
    for keyword, value in more.items():
        setattr(data, keyword, value)
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, data)
    return Image("made", EXPLICIT, file.getvalue())


def encapsulated(frame: bytes, syntax: str, **more: Any) -> Image:
    """An image whose one frame is these bytes, whatever the rest says."""
    plain = made(np.zeros((8, 8), np.uint8), **more).body
    head = plain[: plain.rindex(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))]
    item = (
        struct.pack("<HHI", 0xFFFE, 0xE000, len(frame) + len(frame) % 2)
        + frame
        + bytes(len(frame) % 2)
    )
    start = struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0
    )
    return Image("made", syntax, head + start + item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))


async def kept(blobs: FolderBlobs, image: Image) -> Instance:
    """The image as a stored instance."""
    async with blobs.incoming(NORTH) as incoming:
        await incoming.write(memoryview(image.body))
        digest = await incoming.finish()
    identity = InstanceIdentity(
        sop_instance="1.2.3", transfer_syntax=image.syntax, sha256=digest.sha256
    )
    return Instance(
        id=1,
        identity=identity,
        sop_class="1.2",
        length=digest.length,
        origin=Origin(link=None),
        received=0.0,
        visible=True,
        stored=Stored.NEW,
    )
