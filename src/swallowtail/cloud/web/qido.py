"""QIDO-RS (PS3.18 10.6): the query string as a search, and what was found as DICOM JSON (PS3.18 Annex F)."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from swallowtail.cloud.model.imaging import Instance, InstanceSearch, Series, SeriesSearch, Study, StudySearch
from swallowtail.cloud.model.paging import MAX_PAGE
from swallowtail.cloud.web.problems import Fault, ProblemError

MAX_OFFSET: Final = 100_000
DEFAULT_LIMIT: Final = 100
MAX_UIDS: Final = 1000

Keys = Mapping[str, str]

STUDY_KEYS: Final = {
    "StudyInstanceUID": "0020000D",
    "StudyDate": "00080020",
    "AccessionNumber": "00080050",
    "ModalitiesInStudy": "00080061",
    "StudyDescription": "00081030",
    "PatientName": "00100010",
    "PatientID": "00100020",
}
SERIES_KEYS: Final = {"SeriesInstanceUID": "0020000E", "Modality": "00080060", "SeriesDescription": "0008103E"}
INSTANCE_KEYS: Final = {"SOPInstanceUID": "00080018", "SOPClassUID": "00080016"}


@dataclass(frozen=True, slots=True)
class Window:
    """Which of the matches are asked for."""

    offset: int
    limit: int


def read_keys(query: Iterable[tuple[str, str]], allowed: Mapping[str, str]) -> tuple[dict[str, str], Window, bool]:
    """Read a query string: matching keys by keyword, the window, whether names match fuzzily; raises a 400 that names the key."""
    by_name = {name.lower(): keyword for keyword, tag in allowed.items() for name in (keyword, tag)}
    keys: dict[str, str] = {}
    offset, limit, fuzzy = 0, DEFAULT_LIMIT, False
    for name, value in query:
        match name.lower():
            case "offset":
                offset = _number(name, value, MAX_OFFSET)
            case "limit":
                limit = max(1, min(MAX_PAGE, _number(name, value, 1_000_000)))
            case "fuzzymatching":
                fuzzy = value.lower() == "true"
            case "includefield":
                continue  # every attribute that we keep of a study is returned anyway
            case known if known in by_name:
                keys[by_name[known]] = value
            case _:
                raise _bad(name, f"is not a matching key here; these are: {', '.join(allowed)}")
    return keys, Window(offset, limit), fuzzy


def study_search(keys: Keys, *, fuzzy: bool) -> StudySearch:
    """Give the search for studies."""
    date_from, date_to = _dates("StudyDate", keys.get("StudyDate", ""))
    return StudySearch(
        uids=_uids("StudyInstanceUID", keys.get("StudyInstanceUID", "")),
        patient_name=keys.get("PatientName", ""),
        patient_id=keys.get("PatientID", ""),
        accession=keys.get("AccessionNumber", ""),
        description=keys.get("StudyDescription", ""),
        modality=keys.get("ModalitiesInStudy", ""),
        date_from=date_from,
        date_to=date_to,
        fuzzy=fuzzy,
    )


def series_search(keys: Keys, study: str) -> SeriesSearch:
    """Give the search for series; `study` limits to one."""
    return SeriesSearch(
        study=study,
        uids=_uids("SeriesInstanceUID", keys.get("SeriesInstanceUID", "")),
        modality=keys.get("Modality", ""),
        description=keys.get("SeriesDescription", ""),
    )


def instance_search(keys: Keys, study: str, series: str) -> InstanceSearch:
    """Give the search for instances."""
    return InstanceSearch(
        study=study,
        series=series,
        sop_instances=_uids("SOPInstanceUID", keys.get("SOPInstanceUID", "")),
        sop_class=keys.get("SOPClassUID", ""),
    )


def study_json(study: Study, root: str) -> dict[str, Any]:
    """Give a study as Table 10.6.3-3 asks for it; `root` is the URL of /dicomweb."""
    return _object(
        ("00080020", "DA", _date(study.study_date)),
        ("00080030", "TM", _time(study.study_time)),
        ("00080050", "SH", study.accession),
        ("00080056", "CS", "ONLINE"),
        ("00080061", "CS", list(study.modalities)),
        ("00080090", "PN", study.referring_physician),
        ("00081030", "LO", study.description),
        ("00081190", "UR", f"{root}/studies/{study.uid}"),
        ("00100010", "PN", study.patient_name),
        ("00100020", "LO", study.patient_id),
        ("00100021", "LO", study.issuer),
        ("00100030", "DA", _date(study.birth_date)),
        ("00100040", "CS", study.sex),
        ("0020000D", "UI", study.uid),
        ("00200010", "SH", study.study_id),
        ("00201206", "IS", study.series),
        ("00201208", "IS", study.instances),
    )


def series_json(series: Series, root: str) -> dict[str, Any]:
    """Give a series as Table 10.6.3-4 asks for it."""
    return _object(
        ("00080060", "CS", series.modality),
        ("0008103E", "LO", series.description),
        ("00081190", "UR", f"{root}/studies/{series.study}/series/{series.uid}"),
        ("00180015", "CS", series.body_part),
        ("0020000D", "UI", series.study),
        ("0020000E", "UI", series.uid),
        ("00200011", "IS", series.number),
        ("00201209", "IS", series.instances),
        ("00400244", "DA", _date(series.performed_date)),
        ("00400245", "TM", _time(series.performed_time)),
    )


def instance_json(instance: Instance, root: str) -> dict[str, Any]:
    """Give an instance as Table 10.6.3-5 asks for it."""
    uid = instance.identity.sop_instance
    return _object(
        ("00080016", "UI", instance.sop_class),
        ("00080018", "UI", uid),
        ("00080056", "CS", "ONLINE"),
        ("00081190", "UR", f"{root}/studies/{instance.study}/series/{instance.series}/instances/{uid}"),
        ("00083002", "UI", instance.identity.transfer_syntax),
        ("0020000D", "UI", instance.study),
        ("0020000E", "UI", instance.series),
        ("00200013", "IS", instance.number),
        ("00280008", "IS", instance.frames),
        ("00280010", "US", instance.rows),
        ("00280011", "US", instance.columns),
    )


def _object(*attributes: tuple[str, str, Any]) -> dict[str, Any]:
    return {tag: _attribute(vr, value) for tag, vr, value in sorted(attributes)}


def _attribute(vr: str, value: Any) -> dict[str, Any]:
    values = value if isinstance(value, list) else [] if value in {None, ""} else [value]
    if not values:
        return {"vr": vr}
    make: Callable[[Any], Any] = _person if vr == "PN" else lambda one: one
    return {"vr": vr, "Value": [make(one) for one in values]}


def _person(name: str) -> dict[str, str]:
    """PS3.18 F.2.2: up to three component groups."""
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("="), strict=False)
    return {key: group for key, group in groups if group}


def _date(date: dt.date | None) -> str:
    return f"{date:%Y%m%d}" if date else ""


def _time(time: dt.time | None) -> str:
    return (f"{time:%H%M%S.%f}" if time.microsecond else f"{time:%H%M%S}") if time else ""


def _dates(field: str, text: str) -> tuple[dt.date | None, dt.date | None]:
    """PS3.4 C.2.2.2.5: one date, or a range that may be open at one end."""
    first, dash, last = text.partition("-")
    start = _day(field, first)
    return (start, _day(field, last)) if dash else (start, start)


def _day(field: str, text: str) -> dt.date | None:
    if not text:
        return None
    try:
        return dt.datetime.strptime(text, "%Y%m%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise _bad(field, f"{text!r} is no date like 20261124") from None


def _uids(field: str, text: str) -> tuple[str, ...]:
    """PS3.18 8.3.4.1: a list of UIDs, separated by commas or backslashes."""
    uids = tuple(uid for uid in text.replace("\\", ",").split(",") if uid)
    if len(uids) > MAX_UIDS:
        raise _bad(field, f"lists at most {MAX_UIDS} UIDs")
    return uids


def _number(field: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise _bad(field, "is a number from 0")
    if int(text) > most:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-large",
            f"{field} is at most {most}",
            remedy="Narrow the search.",
        )
    return int(text)


def _bad(field: str, message: str) -> ProblemError:
    remedy = "Correct the query string; see the conformance statement for the keys."
    return ProblemError(HTTPStatus.BAD_REQUEST, "query", f"{field} {message}", remedy=remedy, faults=(Fault(field, message),))
