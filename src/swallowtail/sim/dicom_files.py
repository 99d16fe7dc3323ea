"""The files that the simulated hospital sends.

The real ultrasound files inside pydicom's package, given invented patients and fresh UIDs.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pydicom
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import UID

PACKAGE: Final = Path(pydicom.__file__).parent / "data" / "test_files"

ULTRASOUND: Final = {
    "30-frame cine (JPEG)": "examples_ybr_color.dcm",
    "still, palette colour": "examples_palette.dcm",
    "still, RGB": "examples_rgb_color.dcm",
    "still, JPEG 2000": "examples_jpeg2k.dcm",
}
CINE: Final = "30-frame cine (JPEG)"

_PERSONAL: Final = (
    "InstitutionName",
    "InstitutionAddress",
    "OperatorsName",
    "PerformingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientAddress",
    "PatientComments",
    "EthnicGroup",
    "StationName",
    "DeviceSerialNumber",
)


@dataclass(frozen=True, slots=True)
class Patient:
    """An invented patient."""

    name: str
    number: str
    born: str
    sex: str


PATIENTS: Final = (
    Patient("Heron^Ada", "SIM-0001", "19610412", "F"),
    Patient("Bittern^Ole", "SIM-0002", "19480930", "M"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One file that is ready to be sent."""

    title: str
    path: Path
    study: str
    series: str
    sop_instance: str
    sop_class: str
    transfer_syntax: str

    def data_set(self) -> bytes:
        """Return the data set's bytes: what travels, without preamble and group 0002."""
        return data_set_of(self.path.read_bytes())

    def frame(self, number: int) -> bytes:
        """Return one frame of encapsulated pixel data, from 1 on, located by pydicom."""
        ds = dcmread(self.path)
        return get_frame(ds.PixelData, number - 1, number_of_frames=int(ds.NumberOfFrames))


def fresh_uid() -> UID:
    """Return a UID that nobody has used (PS3.5 B.2)."""
    return UID(f"2.25.{secrets.randbits(122)}")


def ultrasound_study(folder: Path, patient: Patient = PATIENTS[0]) -> list[Sample]:
    """Write one ultrasound study, the cine first, into `folder`.

    A new study with new UIDs at every call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study, series = fresh_uid(), fresh_uid()
    samples = []
    for number, (title, name) in enumerate(ULTRASOUND.items(), 1):
        ds = dcmread(PACKAGE / name)
        _reidentify(ds, patient, number)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = fresh_uid()
        path = folder / f"{number:02}-{name}"
        ds.save_as(path, enforce_file_format=True)
        samples.append(
            Sample(
                title,
                path,
                study,
                series,
                ds.SOPInstanceUID,
                ds.SOPClassUID,
                ds.file_meta.TransferSyntaxUID,
            )
        )
    return samples


def _reidentify(ds: Dataset, patient: Patient, number: int) -> None:
    for keyword in _PERSONAL:
        if keyword in ds:
            delattr(ds, keyword)
    ds.remove_private_tags()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = (
        patient.name,
        patient.number,
        patient.born,
        patient.sex,
    )
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = (
        f"A-{patient.number}",
        "1",
        "Crane^Ivo",
    )
    ds.StudyDescription, ds.SeriesNumber, ds.InstanceNumber = "Echocardiography", 1, number


def data_set_of(file: bytes) -> bytes:
    """Strip preamble and group 0002 from a Part 10 file (PS3.10 7.1).

    Its length is in (0002,0000).
    """
    if file[128:132] != b"DICM" or file[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        raise ValueError("not a Part 10 file with a group length")
    return file[144 + int.from_bytes(file[140:144], "little") :]
