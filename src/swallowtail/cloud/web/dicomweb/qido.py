"""QIDO-RS (PS3.18 10.6): the query string as a search of studies, series or instances."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from swallowtail.cloud.model.imaging import IndexState, InstanceSearch, SeriesSearch, StudySearch
from swallowtail.cloud.model.paging import MAX_PAGE
from swallowtail.cloud.web.problems import FieldError, ProblemError

MAX_OFFSET: Final = 100_000
DEFAULT_LIMIT: Final = 100
MAX_UIDS: Final = 1000
MAX_MODALITIES: Final = 50
MAX_LIMIT: Final = 1_000_000
DATES: Final = r"^(\*?|[0-9]{8}(-([0-9]{8})?)?|-[0-9]{8})$"
"""A date, or a range of dates (PS3.4 C.2.2.2.5)."""
NUMBER: Final = r"^(\*?|-?[0-9]{1,12})$"
MAX_VALUE: Final = 64 * MAX_UIDS + MAX_UIDS
MAX_CODES: Final = 17 * MAX_MODALITIES
"""Characters of a list of modalities: a code string has 16 (PS3.5 6.2), and a comma."""
MAX_TEXT: Final = 256
"""Characters of any other key: a person name of three groups has 194 (PS3.5 6.2)."""
UID_LISTS: Final = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"})
CODE_LISTS: Final = frozenset({"Modality", "ModalitiesInStudy"})

Keys = Mapping[str, str]

STUDY_KEYS: Final = {
    "StudyInstanceUID": "0020000D",
    "StudyDate": "00080020",
    "StudyTime": "00080030",
    "AccessionNumber": "00080050",
    "ModalitiesInStudy": "00080061",
    "StudyDescription": "00081030",
    "ReferringPhysicianName": "00080090",
    "PatientName": "00100010",
    "PatientID": "00100020",
    "StudyID": "00200010",
}
SERIES_KEYS: Final = {
    "SeriesInstanceUID": "0020000E",
    "Modality": "00080060",
    "SeriesNumber": "00200011",
    "SeriesDescription": "0008103E",
    "BodyPartExamined": "00180015",
    "PerformedProcedureStepStartDate": "00400244",
}
INSTANCE_KEYS: Final = {
    "SOPInstanceUID": "00080018",
    "SOPClassUID": "00080016",
    "InstanceNumber": "00200013",
}


@dataclass(frozen=True, slots=True)
class Window:
    """The requested part of the matches."""

    offset: int
    limit: int


def read_keys(
    query: Iterable[tuple[str, str]], *levels: Mapping[str, str]
) -> tuple[dict[str, str], Window, bool]:
    """Read a query string: matching keys by keyword, the window, whether names match fuzzily.

    Raises a 400 that names the key.
    """
    allowed = {keyword: tag for level in levels for keyword, tag in level.items()}
    by_name = {name.lower(): keyword for keyword, tag in allowed.items() for name in (keyword, tag)}
    keys: dict[str, str] = {}
    offset, limit, fuzzy = 0, DEFAULT_LIMIT, False
    for name, value in query:
        match name.lower():
            case "offset":
                offset = _count(name, value, MAX_OFFSET)
            case "limit":
                limit = max(1, min(MAX_PAGE, _count(name, value, MAX_LIMIT)))
            case "fuzzymatching":
                fuzzy = _truth(name, value)
            case "includefield":
                continue  # `includefield` reads it
            case known if known in by_name:
                _keep(keys, by_name[known], name, value)
            case _:
                raise _bad(name, f"is not a matching key here; these are: {', '.join(allowed)}")
    return keys, Window(offset, limit), fuzzy


def study_search(keys: Keys, *, fuzzy: bool) -> StudySearch:
    """Return the search for studies."""
    date_from, date_to = _dates("StudyDate", keys)
    time_from, time_to = _times("StudyTime", keys)
    return StudySearch(
        uids=_uids("StudyInstanceUID", keys),
        patient_name=keys.get("PatientName", ""),
        patient_id=keys.get("PatientID", ""),
        accession=keys.get("AccessionNumber", ""),
        description=keys.get("StudyDescription", ""),
        modalities=_modalities("ModalitiesInStudy", keys),
        study_id=keys.get("StudyID", ""),
        referring_physician=keys.get("ReferringPhysicianName", ""),
        date_from=date_from,
        date_to=date_to,
        time_from=time_from,
        time_to=time_to,
        fuzzy=fuzzy,
    )


def series_search(keys: Keys, study: str, *, fuzzy: bool) -> SeriesSearch:
    """Return the search for series; `study` limits to one."""
    date_from, date_to = _dates("PerformedProcedureStepStartDate", keys)
    return SeriesSearch(
        study=study,
        studies=study_search(keys, fuzzy=fuzzy) if _asks(keys, STUDY_KEYS) else None,
        uids=_uids("SeriesInstanceUID", keys),
        modalities=_modalities("Modality", keys),
        number=_number("SeriesNumber", keys),
        description=keys.get("SeriesDescription", ""),
        body_part=keys.get("BodyPartExamined", ""),
        performed_from=date_from,
        performed_to=date_to,
    )


def instance_search(keys: Keys, study: str, series: str, *, fuzzy: bool) -> InstanceSearch:
    """Return the search for instances; `study` and `series` limit to one each."""
    return InstanceSearch(
        study=study,
        series=series,
        of_studies=study_search(keys, fuzzy=fuzzy) if _asks(keys, STUDY_KEYS) else None,
        of_series=series_search(
            {key: keys[key] for key in SERIES_KEYS if key in keys}, study, fuzzy=False
        )
        if _asks(keys, SERIES_KEYS)
        else None,
        sop_instances=_uids("SOPInstanceUID", keys),
        sop_class=keys.get("SOPClassUID", ""),
        number=_number("InstanceNumber", keys),
        state=IndexState.INDEXED,
    )


def _asks(keys: Keys, level: Mapping[str, str]) -> bool:
    return any(keys.get(key, "").strip("*") for key in level)


def _keep(keys: dict[str, str], keyword: str, name: str, value: str) -> None:
    if keyword in keys:
        raise _bad(name, "is given twice")
    most = MAX_VALUE if keyword in UID_LISTS else MAX_TEXT
    most = MAX_CODES if keyword in CODE_LISTS else most
    if len(value) > most:
        raise _bad(name, f"is longer than {most} characters")
    keys[keyword] = value


def _truth(field: str, text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise _bad(field, "is true or false")
    return text.lower() == "true"


def _dates(field: str, keys: Keys) -> tuple[dt.date | None, dt.date | None]:
    """Return one date, or a range that may be open at one end (PS3.4 C.2.2.2.5)."""
    text = keys.get(field, "")
    if not re.fullmatch(DATES, text):
        raise _bad(field, f"{text[:40]!r} is no date like 20261124, nor a range of two")
    first, dash, last = _range(text)
    start = _day(field, first)
    return (start, _day(field, last)) if dash else (start, start)


def _times(field: str, keys: Keys) -> tuple[dt.time | None, dt.time | None]:
    """Return one time, or a range as of dates (PS3.4 C.2.2.2.5).

    A time without minutes or seconds means all of its hour or minute.
    """
    first, dash, last = _range(keys.get(field, ""))
    return _clock(field, first, late=False), _clock(field, last if dash else first, late=True)


def _range(text: str) -> tuple[str, str, str]:
    return text.strip("*").partition("-")


def _day(field: str, text: str) -> dt.date | None:
    if not text:
        return None
    try:
        return dt.datetime.strptime(text, "%Y%m%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise _bad(field, f"{text!r} is no date like 20261124") from None


def _clock(field: str, text: str, *, late: bool) -> dt.time | None:
    if not text:
        return None
    whole, _, fraction = text.replace(":", "").partition(".")
    rest = "235959"[len(whole) :] if late else "000000"[len(whole) :]
    micro = fraction.ljust(6, "9" if late else "0")[:6]
    try:
        return (
            dt.datetime.strptime(f"{whole}{rest}.{micro}", "%H%M%S.%f")
            .replace(tzinfo=dt.UTC)
            .time()
        )
    except ValueError:
        raise _bad(field, f"{text!r} is no time like 1430 or 143015") from None


def _uids(field: str, keys: Keys) -> tuple[str, ...]:
    """Return a list of UIDs, separated by commas or backslashes (PS3.18 8.3.4.1)."""
    text = keys.get(field, "").strip("*")
    uids = tuple(uid for uid in text.replace("\\", ",").split(",") if uid)
    if len(uids) > MAX_UIDS:
        raise _bad(field, f"lists at most {MAX_UIDS} UIDs")
    return uids


def _modalities(field: str, keys: Keys) -> tuple[str, ...]:
    """Read one modality, or several of which one has to match.

    No code string holds a comma (PS3.5 6.2), and viewers ask so.

    A backslash between values is not taken: it would ask for all of them (PS3.4 C.2.2.2.8).
    """
    several = tuple(one for one in keys.get(field, "").split(",") if one)
    if len(several) > MAX_MODALITIES:
        raise _bad(field, f"lists at most {MAX_MODALITIES} modalities")
    return several


def _number(field: str, keys: Keys) -> int | None:
    text = keys.get(field, "")
    if not re.fullmatch(NUMBER, text):
        raise _bad(field, "is a whole number")
    if not text.strip("*"):
        return None
    return int(text)


def _count(field: str, text: str, most: int) -> int:
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
    return ProblemError(
        HTTPStatus.BAD_REQUEST,
        "query",
        f"{field} {message}",
        remedy=remedy,
        faults=(FieldError(field, message),),
    )
