"""Search results as DICOM JSON (PS3.18 Annex F), with the attributes of Tables 10.6.3-3 to -5."""

import asyncio
import datetime as dt
import zlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request

from swallowtail.cloud.model.imaging import Instance, Series, Study

Object = dict[str, Any]
PREFIX: Final = "/dicomweb"
URL: Final = "00081190"
SYNTAX: Final = "00083002"
THREAD_FROM: Final = 64 * 1024
"""Compressed documents of more bytes are inflated in a thread."""


def root_of(request: Request) -> str:
    """Return the public URL of /dicomweb; `hosts.HostCheck` has checked the host of the request."""
    return f"{request.url.scheme}://{request.url.netloc}{PREFIX}"


def study_json(study: Study, root: str) -> Object:
    """Return a study with the attributes of Table 10.6.3-3; `root` is the URL of /dicomweb."""
    return _object(
        ("00080020", "DA", _date(study.study_date)),
        ("00080030", "TM", _time(study.study_time)),
        ("00080050", "SH", study.accession),
        ("00080056", "CS", "ONLINE"),
        ("00080061", "CS", list(study.modalities)),
        ("00080090", "PN", study.referring_physician),
        ("00081030", "LO", study.description),
        (URL, "UR", f"{root}/studies/{study.uid}"),
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


def series_json(series: Series, root: str) -> Object:
    """Return a series with the attributes of Table 10.6.3-4."""
    return _object(
        ("00080060", "CS", series.modality),
        ("0008103E", "LO", series.description),
        (URL, "UR", f"{root}/studies/{series.study}/series/{series.uid}"),
        ("00180015", "CS", series.body_part),
        ("0020000D", "UI", series.study),
        ("0020000E", "UI", series.uid),
        ("00200011", "IS", series.number),
        ("00201209", "IS", series.instances),
        ("00400244", "DA", _date(series.performed_date)),
        ("00400245", "TM", _time(series.performed_time)),
    )


def instance_json(instance: Instance, root: str) -> Object:
    """Return an instance with the attributes of Table 10.6.3-5."""
    uid = instance.identity.sop_instance
    return _object(
        ("00080016", "UI", instance.sop_class),
        ("00080018", "UI", uid),
        ("00080056", "CS", "ONLINE"),
        (URL, "UR", f"{root}/studies/{instance.study}/series/{instance.series}/instances/{uid}"),
        (SYNTAX, "UI", instance.identity.transfer_syntax),
        ("0020000D", "UI", instance.study),
        ("0020000E", "UI", instance.series),
        ("00200013", "IS", instance.number),
        ("00280008", "IS", instance.frames),
        ("00280010", "US", instance.rows),
        ("00280011", "US", instance.columns),
    )


async def absolute(document: bytes, instance: Instance, root: str) -> bytes:
    """Return an inflated document with absolute bulk data URIs and the transfer syntax."""
    series = f"{root}/studies/{instance.study}/series/{instance.series}"
    place = f"{series}/instances/{instance.identity.sop_instance}/"
    syntax = instance.identity.transfer_syntax
    if len(document) > THREAD_FROM:
        return await asyncio.to_thread(_absolute, document, place, syntax)
    return _absolute(document, place, syntax)


def _absolute(document: bytes, place: str, syntax: str) -> bytes:
    attributes = msgspec.json.decode(zlib.decompress(document), type=dict[str, msgspec.Raw])
    attributes[SYNTAX] = msgspec.Raw(
        msgspec.json.encode(_attribute("UI", syntax))
    )  # viewers recognise videos by it
    text = msgspec.json.encode(
        dict(sorted(attributes.items()))
    )  # PS3.18 F.2.2: in the order of tags
    # Within a text of the JSON the quotes of the pattern would be escaped.
    return text.replace(
        b'"BulkDataURI":"bulkdata/',
        b'"BulkDataURI":' + msgspec.json.encode(place)[:-1] + b"bulkdata/",
    )


def _object(*attributes: tuple[str, str, Any]) -> Object:
    return {tag: _attribute(vr, value) for tag, vr, value in sorted(attributes)}


def _attribute(vr: str, value: Any) -> Object:
    values = value if isinstance(value, list) else [] if value in {None, ""} else [value]
    if not values:
        return {"vr": vr}
    make: Callable[[Any], Any] = _person if vr == "PN" else lambda one: one
    return {"vr": vr, "Value": [make(one) for one in values]}


def _person(name: str) -> dict[str, str]:
    """Return a person name's component groups, up to three (PS3.18 F.2.2)."""
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("="), strict=False)
    return {key: group for key, group in groups if group}


def _date(date: dt.date | None) -> str:
    return f"{date:%Y%m%d}" if date else ""


def _time(time: dt.time | None) -> str:
    return (f"{time:%H%M%S.%f}" if time.microsecond else f"{time:%H%M%S}") if time else ""
