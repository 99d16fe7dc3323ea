"""Objects of every transfer syntax and class that pydicom's files offer, only with fresh UIDs.

What they lack is made here.
"""

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID
from pynetdicom.dsutils import split_dataset

from swallowtail.sim.dicom_files import PACKAGE, fresh_uid

DEFLATED = "1.2.840.10008.1.2.1.99"
FOLDERS = (
    "dicomdirtests/77654033/CR1",
    "dicomdirtests/98892003/MR1",
    "dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000",
)
"""Of the many small files of DICOM directories, the first of each of these folders."""

VIDEO_ENDOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
VIDEO_PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4.1"
ULTRASOUND_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"

VIDEOS = {
    "mpeg2": (VIDEO_ENDOSCOPIC, "1.2.840.10008.1.2.4.100"),
    "mpeg2-high": (VIDEO_ENDOSCOPIC, "1.2.840.10008.1.2.4.101"),
    "mpeg4-4.1": (VIDEO_ENDOSCOPIC, "1.2.840.10008.1.2.4.102"),
    "mpeg4-4.1-us": (ULTRASOUND_MULTIFRAME, "1.2.840.10008.1.2.4.102"),
    "mpeg4-bd": (VIDEO_PHOTOGRAPHIC, "1.2.840.10008.1.2.4.103"),
    "mpeg4-4.2-2d": (VIDEO_PHOTOGRAPHIC, "1.2.840.10008.1.2.4.104"),
    "hevc": (VIDEO_PHOTOGRAPHIC, "1.2.840.10008.1.2.4.107"),
    "hevc-10": (VIDEO_PHOTOGRAPHIC, "1.2.840.10008.1.2.4.108"),
    "htj2k-lossless-us": (ULTRASOUND_MULTIFRAME, "1.2.840.10008.1.2.4.201"),
}


@dataclass(frozen=True)
class Object:
    """One Part 10 file that is ready to be sent."""

    name: str
    path: Path
    sop_class: str
    transfer_syntax: str
    sop_instance: str

    def data_set(self) -> bytes:
        """The bytes that travel."""
        _, offset = split_dataset(self.path)
        return self.path.read_bytes()[offset:]


def sources() -> list[Path]:
    """pydicom's files that are storage objects with a file meta group."""
    flat = [path for path in sorted(PACKAGE.glob("*.dcm")) if _is_object(path)]
    return flat + [
        next(path for path in sorted((PACKAGE / folder).iterdir()) if path.is_file())
        for folder in FOLDERS
    ]


def _is_object(path: Path) -> bool:
    if path.read_bytes()[128:132] != b"DICM":
        return False
    meta, _ = split_dataset(path)
    return all(
        meta.get(keyword)
        for keyword in (
            "MediaStorageSOPClassUID",
            "MediaStorageSOPInstanceUID",
            "TransferSyntaxUID",
        )
    )


def renewed(source: Path, folder: Path) -> Object:
    """Copy a file, every occurrence of its SOP Instance UID replaced by a fresh one of the same
    length, all else as it is.
    """
    meta, _ = split_dataset(source)
    old = str(meta.MediaStorageSOPInstanceUID)
    content = source.read_bytes()
    new = old if meta.TransferSyntaxUID == DEFLATED else fresh_uid()[: len(old) - 1] + "7"
    if len(new) != len(old):
        new = new.ljust(len(old), "7")
    path = folder / source.name
    path.write_bytes(content.replace(old.encode(), new.encode()))
    return Object(
        source.name, path, str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID), new
    )


def made(folder: Path) -> list[Object]:
    """What pydicom's files lack: an encapsulated PDF, and one video of each kind."""
    objects = [_write(folder, "pdf", _pdf())]
    objects += [
        _write(folder, name, _video(sop_class, syntax))
        for name, (sop_class, syntax) in VIDEOS.items()
    ]
    return objects


def _base(sop_class: str, syntax: str, modality: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), fresh_uid()
    meta.TransferSyntaxUID = UID(syntax)
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = fresh_uid(), fresh_uid(), modality
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = (
        "Heron^Ada",
        "SIM-0001",
        "19610412",
        "F",
    )
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20261101", "101500", "1", "A1"
    ds.ReferringPhysicianName, ds.SeriesNumber, ds.InstanceNumber, ds.Manufacturer = (
        "Crane^Ivo",
        1,
        1,
        "invented",
    )
    return ds


def _pdf() -> FileDataset:
    ds = _base(ENCAPSULATED_PDF, EXPLICIT_LITTLE, "DOC")
    ds.ConversionType, ds.BurnedInAnnotation, ds.DocumentTitle = "WSD", "YES", "Report (invented)"
    ds.ContentDate, ds.ContentTime, ds.AcquisitionDateTime = "20261101", "101500", "20261101101500"
    ds.ConceptNameCodeSequence, ds.MIMETypeOfEncapsulatedDocument = [], "application/pdf"
    ds.EncapsulatedDocument = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n" + bytes(1)
    )
    return ds


def _video(sop_class: str, syntax: str) -> FileDataset:
    ds = _base(sop_class, syntax, "US" if sop_class == ULTRASOUND_MULTIFRAME else "ES")
    ds.Rows, ds.Columns, ds.NumberOfFrames, ds.SamplesPerPixel = 480, 640, 25, 3
    ds.PhotometricInterpretation, ds.PlanarConfiguration = "YBR_PARTIAL_420", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.CineRate, ds.FrameTime, ds.FrameIncrementPointer = 25, "40", 0x00181063
    ds.ImageType, ds.LossyImageCompression = ["ORIGINAL", "PRIMARY"], "01"
    stream = b"\0\0\0\x1cftypisom" + bytes(range(256)) * 400  # nobody on the way looks inside
    ds.PixelData = encapsulate([stream], has_bot=True)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def _write(folder: Path, name: str, ds: Dataset) -> Object:
    path = folder / f"made-{name}.dcm"
    ds.save_as(path, enforce_file_format=True)
    return Object(
        f"made-{name}", path, ds.SOPClassUID, ds.file_meta.TransferSyntaxUID, ds.SOPInstanceUID
    )
