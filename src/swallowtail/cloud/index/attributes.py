"""The attributes of a study, a series and an instance, from a pydicom data set.

Invalid values are left out, never fatal.
"""

from datetime import date, time
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from swallowtail.cloud.data_set.elements import MalformedDataSetError
from swallowtail.cloud.index.frame_offsets import Image
from swallowtail.cloud.model.imaging import Series, Study
from swallowtail.dicom import uids


def study_of(data: Dataset) -> Study:
    """Return the study's attributes (PS3.18 Table 10.6.3-3)."""
    return Study(
        uid=required_uid(data, "StudyInstanceUID"),
        patient_name=text(data, "PatientName"),
        patient_id=text(data, "PatientID"),
        issuer=text(data, "IssuerOfPatientID"),
        birth_date=day(text(data, "PatientBirthDate")),
        sex=text(data, "PatientSex"),
        accession=text(data, "AccessionNumber"),
        study_id=text(data, "StudyID"),
        study_date=day(text(data, "StudyDate")),
        study_time=clock(text(data, "StudyTime")),
        description=text(data, "StudyDescription"),
        referring_physician=text(data, "ReferringPhysicianName"),
    )


def series_of(data: Dataset) -> Series:
    """Return the series' attributes (PS3.18 Table 10.6.3-4)."""
    return Series(
        study=required_uid(data, "StudyInstanceUID"),
        uid=required_uid(data, "SeriesInstanceUID"),
        modality=text(data, "Modality"),
        number=number(data, "SeriesNumber"),
        description=text(data, "SeriesDescription"),
        body_part=text(data, "BodyPartExamined"),
        performed_date=day(text(data, "PerformedProcedureStepStartDate")),
        performed_time=clock(text(data, "PerformedProcedureStepStartTime")),
    )


def image_of(data: Dataset) -> Image | None:
    """Return the attributes of the pixel data; None where too many are missing."""
    needed = [number(data, keyword) for keyword in ("Rows", "Columns", "BitsAllocated")]
    if any(value is None or value < 0 for value in needed):
        return None
    rows, columns, bits = (value or 0 for value in needed)
    return Image(
        frames=max(1, number(data, "NumberOfFrames") or 1),
        rows=rows,
        columns=columns,
        samples=number(data, "SamplesPerPixel") or 1,
        bits_allocated=bits,
        photometric=text(data, "PhotometricInterpretation"),
    )


def required_uid(data: Dataset, keyword: str) -> str:
    """Return a UID that every instance must have; raises MalformedDataSetError."""
    uid = text(data, keyword)
    if not uids.is_valid(uid):
        raise MalformedDataSetError(f"{keyword} is missing or not a UID")
    return uid


def text(data: Dataset, keyword: str) -> str:
    """Return a value as text, decoded by the data set's Specific Character Set.

    Several values are joined by a backslash.
    """
    value = data.get(keyword)
    if value is None:
        return ""
    if isinstance(value, MultiValue):
        return "\\".join(str(one) for one in value)
    return str(value).replace("\0", "").strip()


def number(data: Dataset, keyword: str) -> int | None:
    """Return a value as an integer; None if it is not one."""
    value: Any = data.get(keyword)
    try:
        found = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if -(2**31) <= found < 2**31 else None  # the range of IS (PS3.5 6.2)


def day(value: str) -> date | None:
    """Return a DA as a date; None if it is not one.

    Accepts the form with dots that PS3.5 6.2 retains for old files.
    """
    digits = value.replace(".", "")
    try:
        return (
            date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) if len(digits) == 8 else None
        )
    except ValueError:
        return None


def clock(value: str) -> time | None:
    """Return a TM as a time; None if it is not one.

    Accepts `HH` alone, and the form with colons (PS3.5 6.2).
    """
    whole, _, fraction = value.replace(":", "").partition(".")
    try:
        hour, minute, second = (int(whole[start : start + 2] or "0") for start in (0, 2, 4))
        return time(hour, minute, second, int(fraction.ljust(6, "0")[:6])) if whole else None
    except ValueError:
        return None
