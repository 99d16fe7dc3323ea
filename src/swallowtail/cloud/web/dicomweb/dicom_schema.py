"""DICOMweb for the OpenAPI document: DICOM JSON (PS3.18 F), QIDO-RS parameters, STOW-RS bodies."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from swallowtail.cloud.model.paging import MAX_PAGE
from swallowtail.cloud.web.dicomweb import includefield, qido

_TEXTS: Final = "AE AS CS DA DT IS LO LT PN SH ST TM UC UI UR UT"
_OTHERS: Final = "AT DS FD FL OB OD OF OL OV OW SL SQ SS SV UL UN US UV"
_VRS: Final = sorted(f"{_TEXTS} {_OTHERS}".split())
_NAME: Final = "#/components/schemas/DicomPersonName"
_DATA_SET: Final = "#/components/schemas/DicomDataSet"
DATA_SET: Final = {"$ref": _DATA_SET}
DATA_SETS: Final = {"type": "array", "items": DATA_SET}

DICOM_SCHEMAS: Final[Mapping[str, Any]] = {
    "DicomDataSet": {
        "type": "object",
        "description": "A data set in the DICOM JSON model (PS3.18 F.2): attributes by their tag.",
        "patternProperties": {
            "^[0-9A-F]{8}$": {"$ref": "#/components/schemas/DicomAttribute"},
        },
        "additionalProperties": False,
    },
    "DicomAttribute": {
        "type": "object",
        "description": "One attribute; a value is in Value, InlineBinary or behind BulkDataURI.",
        "required": ["vr"],
        "properties": {
            "vr": {"type": "string", "enum": _VRS},
            "Value": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"type": ["string", "number", "null"]},
                        {"$ref": _NAME},
                        DATA_SET,
                    ]
                },
            },
            "BulkDataURI": {"type": "string"},
            "InlineBinary": {"type": "string", "contentEncoding": "base64"},
        },
        "additionalProperties": False,
    },
    "DicomPersonName": {
        "type": "object",
        "description": "A person name by its component groups (PS3.18 F.2.2).",
        "properties": {
            group: {"type": "string"} for group in ("Alphabetic", "Ideographic", "Phonetic")
        },
        "additionalProperties": False,
    },
}

_TEXT: Final = {"type": "string", "maxLength": qido.MAX_TEXT}
_KINDS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    **dict.fromkeys(
        qido.UID_LISTS,
        ("a UID, or several with commas between them", {"type": "string"}),
    ),
    **dict.fromkeys(
        ("StudyDate", "PerformedProcedureStepStartDate"),
        (
            "a date like 20261124, or a range like 20261101-20261124, 20261101- or -20261124",
            {"type": "string", "pattern": qido.DATES},
        ),
    ),
    "StudyTime": ("a time like 1430 or 143015, or a range like 08-1159", _TEXT),
    **dict.fromkeys(
        ("SeriesNumber", "InstanceNumber"),
        ("a whole number", {"type": "string", "pattern": qido.NUMBER}),
    ),
    **dict.fromkeys(
        qido.CODE_LISTS,
        (
            "a code, or several with commas between them",
            {"type": "string", "maxLength": qido.MAX_CODES},
        ),
    ),
    "SOPClassUID": ("a UID", _TEXT),
}
_MATCHED: Final = ("text, in which `*` and `?` are wildcards", _TEXT)


def _parameter(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": dict(schema)}


def search_parameters(*levels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return every query parameter of a search with these matching keys, by keyword and by tag."""
    keys = {keyword: tag for level in levels for keyword, tag in level.items()}
    return [*_keys(keys.items()), *WINDOW]


def _keys(keys: Iterable[tuple[str, str]]) -> Iterable[dict[str, Any]]:
    for keyword, tag in keys:
        text, schema = _KINDS.get(keyword, _MATCHED)
        yield _parameter(keyword, f"Matches {keyword} ({tag[:4]},{tag[4:]}): {text}.", schema)
        yield _parameter(tag, f"The same as `{keyword}`.", schema)


WINDOW: Final = (
    _parameter(
        "limit",
        f"How many results at most; an answer has {MAX_PAGE} (PS3.18 8.3.4.4).",
        {
            "type": "integer",
            "minimum": 0,
            "maximum": qido.MAX_LIMIT,
            "default": qido.DEFAULT_LIMIT,
        },
    ),
    _parameter(
        "offset",
        "How many results are left out before the first.",
        {"type": "integer", "minimum": 0, "maximum": qido.MAX_OFFSET, "default": 0},
    ),
    _parameter(
        "fuzzymatching",
        "Whether words of PatientName match in any order, by their beginnings (PS3.18 8.3.4.2).",
        {"type": "boolean", "default": False},
    ),
    {
        **_parameter(
            includefield.NAME,
            "Attributes to include, by keyword or tag with commas between them, or `all`; "
            "attributes of a sequence bring the sequence (PS3.18 8.3.4.3).",
            {"type": "array", "items": {"type": "string"}, "maxItems": includefield.MOST},
        ),
        "explode": True,
    },
    _parameter(
        "archive",
        "The id of an archive (no parameter of DICOM): results are in it.",
        {"type": "string"},
    ),
    _parameter(
        "facility",
        "The id of a facility (no parameter of DICOM): results are what it holds.",
        {"type": "string"},
    ),
)

STORE_BODY: Final = {
    "required": True,
    "description": 'Content-Type: `multipart/related; type="application/dicom"; boundary=…`.',
    "content": {
        "multipart/related": {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "Parts of application/dicom, each a DICOM file (PS3.10).",
            }
        }
    },
}
