"""The sets that are sent.

Valid CT and Ultrasound Multi-frame objects with random pixels, written once, with new UIDs for each
run.

A Cloud that has stored an instance stores nothing when it comes again, so every run needs UIDs of
its own. All UIDs have the same length and known offsets, so a renewal overwrites a few bytes per
file instead of writing the set again.
"""

import functools
import json
import os
import random
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    UltrasoundMultiFrameImageStorage,
)

CACHE: Final = Path("/tmp/swallowtail-bench/sets")
UID_LENGTH: Final = 44
KINDS: Final = ("sop", "series", "study")


@dataclass(frozen=True)
class Shape:
    """The composition of one set."""

    name: str
    count: int
    rows: int
    columns: int
    frames: int = 0  # 0: a CT slice of 16 bits; else an RGB cine


SHAPES: Final = {
    shape.name: shape
    for shape in (
        Shape("ct", count=400, rows=512, columns=512),
        Shape("cine", count=6, rows=480, columns=640, frames=63),
        Shape("small", count=1000, rows=75, columns=75),
    )
}


def fresh_uid() -> str:
    """Return a UID of UID_LENGTH characters under 2.25 (PS3.5 B.2)."""
    digits = UID_LENGTH - len("2.25.")
    return "2.25." + str(secrets.randbelow(9 * 10 ** (digits - 1)) + 10 ** (digits - 1))


def _dataset(shape: Shape, number: int, uids: dict[str, str]) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = (
        UltrasoundMultiFrameImageStorage if shape.frames else CTImageStorage
    )
    meta.MediaStorageSOPInstanceUID = UID(uids["sop"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, uids["sop"]
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uids["study"], uids["series"]
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = (
        "Heron^Ada",
        "BENCH-1",
        "19700101",
        "F",
    )
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "B1", "Crane^Ivo"
    ds.StudyDate = ds.ContentDate = "20261101"
    ds.StudyTime = ds.ContentTime = "101500"
    ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber = "Swallowtail bench", 1, number + 1
    ds.Rows, ds.Columns = shape.rows, shape.columns
    if shape.frames:
        _describe_cine(ds, shape)
    else:
        _describe_slice(ds, number)
    length = shape.rows * shape.columns * (3 * shape.frames if shape.frames else 2)
    data = random.Random(number).randbytes(length)
    ds.PixelData = data if length % 2 == 0 else data + b"\0"
    return ds


def _describe_cine(ds: Dataset, shape: Shape) -> None:
    ds.Modality, ds.PatientOrientation, ds.BodyPartExamined = "US", "", "HEART"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.NumberOfFrames, ds.FrameTime, ds.FrameIncrementPointer = shape.frames, "33.3", 0x00181063
    ds.ImageType, ds.LossyImageCompression = ["ORIGINAL", "PRIMARY"], "00"


def _describe_slice(ds: Dataset, number: int) -> None:
    ds.Modality, ds.ImageType, ds.KVP, ds.AcquisitionNumber = (
        "CT",
        ["ORIGINAL", "PRIMARY", "AXIAL"],
        "120",
        1,
    )
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PatientPosition, ds.BodyPartExamined = "HFS", "CHEST"
    ds.RescaleIntercept, ds.RescaleSlope, ds.SliceThickness = "-1024", "1", "1"
    ds.PixelSpacing, ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = (
        ["0.7", "0.7"],
        "2.25.1",
        "",
    )
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, number]


class Set:
    """One set on disk: `files` as they are to be sent, `renew` before each run."""

    def __init__(self, shape: Shape, folder: Path = CACHE) -> None:
        self.shape = shape
        self._folder = (
            folder / f"{shape.name}-{shape.count}x{shape.rows}x{shape.columns}x{shape.frames}"
        )
        index = self._folder / "index.json"
        if not index.exists():
            self._generate(index)
        self._places: dict[str, dict[str, list[int]]] = json.loads(index.read_text())
        self.study = ""

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def files(self) -> list[Path]:
        return [self._folder / name for name in self._places]

    @property
    def size(self) -> int:
        """Return the number of bytes of all files."""
        return sum(path.stat().st_size for path in self.files)

    def _generate(self, index: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        shared = {"study": fresh_uid(), "series": fresh_uid()}
        places = {}
        for number in range(self.shape.count):
            uids = {**shared, "sop": fresh_uid()}
            path = self._folder / f"{number:05}.dcm"
            _dataset(self.shape, number, uids).save_as(path, enforce_file_format=True)
            places[path.name] = _offsets(path, uids)
        index.write_text(json.dumps(places))

    def renew(self) -> None:
        """Write a new UID into every instance, and one new series and study into all of them.

        Reads the set into the page cache.
        """
        uids = {"study": fresh_uid(), "series": fresh_uid()}
        self.study = uids["study"]
        for name, places in self._places.items():
            uids["sop"] = fresh_uid()
            with (self._folder / name).open("r+b") as file:
                for kind in KINDS:
                    for offset in places[kind]:
                        os.pwrite(file.fileno(), uids[kind].encode(), offset)
                while file.read(1 << 20):
                    pass

    def parts(self, count: int) -> list[list[Path]]:
        """Divide the files among `count` senders; with fewer files than senders, one file each."""
        dealt = [self.files[number::count] for number in range(count)]
        return [part for part in dealt if part]


def _offsets(path: Path, uids: dict[str, str]) -> dict[str, list[int]]:
    head = path.read_bytes()[:4096]
    found: dict[str, list[int]] = {}
    for kind in KINDS:
        needle, at = uids[kind].encode(), -1
        found[kind] = []
        while (at := head.find(needle, at + 1)) >= 0:
            found[kind].append(at)
        if len(found[kind]) != (2 if kind == "sop" else 1):
            raise ValueError(f"{path}: {kind} UID found {len(found[kind])} times")
    return found


@functools.cache
def load(name: str) -> Set:
    """Return the set called `ct`, `cine` or `small`, written at the first call."""
    return Set(SHAPES[name])
