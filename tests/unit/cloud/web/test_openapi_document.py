"""What the document says of DICOMweb and of refusals, against what the routes do."""

from typing import Any

import pytest

from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web.dicomweb import qido
from swallowtail.cloud.web.openapi_document import REFUSALS, describe
from tests.unit.cloud.web.conftest import APP, STUDY, Cloud

LEVELS = {
    "/dicomweb/studies": [qido.STUDY_KEYS],
    "/dicomweb/series": [qido.STUDY_KEYS, qido.SERIES_KEYS],
    "/dicomweb/instances": [qido.STUDY_KEYS, qido.SERIES_KEYS, qido.INSTANCE_KEYS],
}
VALUES = {
    "limit": "7",
    "offset": "1",
    "fuzzymatching": "true",
    "includefield": "PatientName,00080020",
    "InstanceNumber": "7",
    "SeriesNumber": "-7",
    "StudyDate": "20261101-",
    "PerformedProcedureStepStartDate": "-20261130",
    "StudyTime": "08-1159",
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe(APP)


@pytest.mark.parametrize("path", LEVELS)
async def test_every_described_parameter_of_a_search_is_taken_and_every_key_is_described(
    cloud: Cloud, document: dict[str, Any], path: str
) -> None:
    parameters = document["paths"][path]["get"]["parameters"]
    names = {one["name"] for one in parameters if one["in"] == "query"}
    keys = {keyword: tag for level in LEVELS[path] for keyword, tag in level.items()}
    window = {"limit", "offset", "fuzzymatching", "includefield"}
    ours = {"organisation", "archive", "facility"}  # not of QIDO-RS
    assert names - ours == {*keys, *keys.values(), *window}
    assert all(one["description"] for one in parameters if one["name"] not in ours)
    reader = await cloud.token(Role.CLINICIAN)
    keywords = {tag: keyword for keyword, tag in keys.items()}
    for name in names - ours:
        value = VALUES.get(keywords.get(name, name), "1.2")
        answer = await cloud.call("GET", path, reader, **{name: value})
        assert answer.status_code in {200, 204}, (name, answer.text)
    assert (await cloud.call("GET", path, reader, Rows="1")).status_code == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("InstanceNumber", "--5"),
        ("InstanceNumber", "5*"),
        ("SeriesNumber", "1.5"),
        ("StudyDate", "2026111"),
        ("StudyDate", "20261301"),
        ("StudyDate", "20260101-20260102-20260103"),
        ("StudyTime", "25"),
        ("PatientName", "x" * 257),
        ("fuzzymatching", "yes"),
        ("limit", "-1"),
    ],
)
async def test_a_value_that_is_none_is_named(cloud: Cloud, name: str, value: str) -> None:
    reader = await cloud.token(Role.CLINICIAN)
    answer = await cloud.call("GET", "/dicomweb/instances", reader, **{name: value})
    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["errors"]] == [name]


async def test_lists_are_as_long_as_the_conformance_statement_says(cloud: Cloud) -> None:
    reader = await cloud.token(Role.CLINICIAN)
    for name, value in (
        ("ModalitiesInStudy", ",".join(["MODALITY_OF_16_C"] * 50)),
        ("StudyInstanceUID", ",".join(["1." + "2" * 50] * 1000)),
    ):
        answer = await cloud.call("GET", "/dicomweb/studies", reader, **{name: value})
        assert answer.status_code == 204, name


def test_every_operation_lists_its_refusals_by_status(document: dict[str, Any]) -> None:
    """`Cloud.call` fails where an answer has a status that is not listed."""
    problem = {"$ref": "#/components/schemas/Problem"}
    for response in document["components"]["responses"].values():
        assert response["content"]["application/problem+json"]["schema"] == problem
    assert len(document["components"]["responses"]) == len(REFUSALS)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert "default" not in operation["responses"], (method, path)
            assert {"400", "401", "429", "503"} <= set(operation["responses"]), (method, path)


def test_bodies_of_dicomweb_are_described(document: dict[str, Any]) -> None:
    paths = document["paths"]
    store = paths["/dicomweb/studies/{study}"]["post"]
    assert [*store["requestBody"]["content"]] == ["multipart/related"]
    data_set = {"$ref": "#/components/schemas/DicomDataSet"}
    for status in ("200", "202", "409"):
        content = store["responses"][status]["content"]["application/dicom+json"]
        assert content["schema"] == data_set, status
    found = paths["/dicomweb/studies/{study}/metadata"]["get"]["responses"]["200"]
    schema = found["content"]["application/dicom+json"]["schema"]
    assert schema == {"type": "array", "items": data_set}


async def test_a_refused_store_is_told_in_the_described_form(cloud: Cloud) -> None:
    headers = {
        "Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}",
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=x',
    }
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\nnothing\r\n--x--\r\n"
    path = f"/dicomweb/studies/{STUDY}?facility=main-heron"
    answer = await cloud.http.post(path, headers=headers, content=body)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/dicom+json"


def test_every_operation_and_every_parameter_is_described(document: dict[str, Any]) -> None:
    evident = {"name", "state", "hidden", "date_from", "date_to", "received_since", "version"}
    evident |= {"instance", "frames", "tag", "quality"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"].endswith("."), where
            missing = {
                one["name"] for one in operation.get("parameters", ()) if "description" not in one
            }
            assert missing <= evident, (where, missing)


def test_every_time_is_described(document: dict[str, Any]) -> None:
    times = {"created", "received", "since", "deleted", "until", "last", "first", "at"}
    for name, schema in document["components"]["schemas"].items():
        for field, value in schema.get("properties", {}).items():
            if field in times and "number" in str(value):
                assert "description" in str(value), (name, field)
