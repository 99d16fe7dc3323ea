"""QIDO-RS and WADO-RS over the twins, and the query string as a pure function."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from swallowtail.cloud.model.imaging import Study
from swallowtail.cloud.model.tenancy import Role, Tenant
from swallowtail.cloud.web.dicomweb.dicom_json import study_json
from swallowtail.cloud.web.dicomweb.qido import (
    INSTANCE_KEYS,
    SERIES_KEYS,
    STUDY_KEYS,
    Window,
    read_keys,
    study_search,
)
from swallowtail.cloud.web.problems import ProblemError
from tests.unit.cloud.web.conftest import DATA, HERON, INSTANCE, SERIES, STUDY, SYNTAX, Cloud

ROOT = "/dicomweb/studies"


async def test_a_search_without_a_match_is_204(cloud: Cloud) -> None:
    answer = await cloud.call("GET", ROOT, await cloud.token(Role.CLINICIAN), PatientID="nobody")
    assert (answer.status_code, answer.content) == (204, b"")


async def test_each_level_is_found_by_keyword_or_tag(cloud: Cloud) -> None:
    reader = await cloud.token(Role.CLINICIAN)
    for key in ("PatientID", "00100020", "patientid"):
        answer = await cloud.call("GET", ROOT, reader, **{key: "P1"})
        assert answer.headers["content-type"] == "application/dicom+json"
        (study,) = answer.json()
        assert study["0020000D"] == {"vr": "UI", "Value": [STUDY]}
        assert study["00100010"] == {
            "vr": "PN",
            "Value": [{"Alphabetic": "Heron^Ada", "Ideographic": "花"}],
        }
        assert study["00081190"]["Value"] == [f"https://cloud.example{ROOT}/{STUDY}"]
    (series,) = (await cloud.call("GET", f"{ROOT}/{STUDY}/series", reader, Modality="US")).json()
    assert series["0020000E"]["Value"] == [SERIES]
    (instance,) = (
        await cloud.call("GET", f"{ROOT}/{STUDY}/series/{SERIES}/instances", reader)
    ).json()
    assert instance["00080018"]["Value"] == [INSTANCE]
    assert instance["00083002"]["Value"] == [SYNTAX]


async def test_limit_and_offset_walk_over_all_matches(cloud: Cloud) -> None:
    for number in range(5):
        await cloud.store(HERON, "radiology-heron", f"1.2.3.4.{number}", str(number).encode())
    reader = await cloud.token(Role.CLINICIAN)
    path = f"{ROOT}/{STUDY}/series/{SERIES}/instances"

    async def uids(**query: int) -> list[str]:
        answer = await cloud.call("GET", path, reader, **query)
        return [item["00080018"]["Value"][0] for item in answer.json()] if answer.content else []

    everything = await uids()
    assert len(everything) == 6
    assert [await uids(limit=2, offset=offset) for offset in (0, 2, 4, 6)] == [
        everything[:2],
        everything[2:4],
        everything[4:],
        [],
    ]


async def test_retrieve_gives_every_instance_as_a_part_with_its_syntax(cloud: Cloud) -> None:
    await cloud.store(HERON, "radiology-heron", "1.2.3.4.5", b"second")
    reader = await cloud.token(Role.CLINICIAN)
    answer = await cloud.call("GET", f"{ROOT}/{STUDY}", reader)
    boundary = (
        answer.headers["content-type"]
        .removeprefix('multipart/related; type="application/dicom"; boundary=')
        .encode()
    )
    *parts, end = answer.content.split(b"--" + boundary)
    assert end == b"--\r\n"
    assert [part.partition(b"\r\n\r\n")[0] for part in parts[1:]] == [
        f"\r\nContent-Type: application/dicom; transfer-syntax={SYNTAX}".encode()
    ] * 2
    assert [
        part.endswith(data + b"\r\n")
        for part, data in zip(parts[1:], (DATA, b"second"), strict=True)
    ] == [True, True]
    for path in (f"{STUDY}/series/{SERIES}", f"{STUDY}/series/{SERIES}/instances/{INSTANCE}"):
        assert DATA in (await cloud.call("GET", f"{ROOT}/{path}", reader)).content


async def test_retrieve_offers_dicom_files_and_nothing_else(cloud: Cloud) -> None:
    headers = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}"}
    for accept, status in (
        ("image/jpeg", 406),
        ('multipart/related; type="application/dicom"', 200),
        ("image/png, */*;q=0.1", 200),
    ):
        answer = await cloud.http.get(f"{ROOT}/{STUDY}", headers=headers | {"Accept": accept})
        assert answer.status_code == status, accept


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ([("Nonsense", "1")], 400, "Nonsense"),
        ([("limit", "-1")], 400, "limit"),
        ([("offset", "x")], 400, "offset"),
        ([("offset", "100001")], 413, ""),
        ([("StudyDate", "2026")], 400, "StudyDate"),
        ([("StudyInstanceUID", "1," * 1001)], 400, "StudyInstanceUID"),
        ([("StudyDate", "20261301-")], 400, "StudyDate"),
        ([("StudyTime", "2561")], 400, "StudyTime"),
        ([("fuzzymatching", "maybe")], 400, "fuzzymatching"),
        ([("Modality", "US")], 400, "Modality"),
        ([("ModalitiesInStudy", "US," * 51)], 400, "ModalitiesInStudy"),
    ],
)
async def test_a_query_that_cannot_be_read_names_its_key(
    cloud: Cloud, query: list[tuple[str, str]], status: int, field: str
) -> None:
    answer = await cloud.call("GET", ROOT, await cloud.token(Role.CLINICIAN), **dict(query))
    assert answer.status_code == status
    assert [fault["field"] for fault in answer.json().get("errors", [{"field": ""}])] == [field]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20261124", (dt.date(2026, 11, 24), dt.date(2026, 11, 24))),
        ("20261101-20261124", (dt.date(2026, 11, 1), dt.date(2026, 11, 24))),
        ("20261101-", (dt.date(2026, 11, 1), None)),
        ("-20261124", (None, dt.date(2026, 11, 24))),
        ("", (None, None)),
    ],
)
def test_dates_are_one_day_or_a_range(text: str, expected: Any) -> None:
    search = study_search({"StudyDate": text}, fuzzy=False)
    assert (search.date_from, search.date_to) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1430", (dt.time(14, 30), dt.time(14, 30, 59, 999999))),
        ("14-143015", (dt.time(14), dt.time(14, 30, 15, 999999))),
        ("-0900", (None, dt.time(9, 0, 59, 999999))),
    ],
)
def test_times_mean_all_of_what_they_leave_open(text: str, expected: Any) -> None:
    search = study_search({"StudyTime": text}, fuzzy=False)
    assert (search.time_from, search.time_to) == expected


async def test_every_level_is_searched_by_its_own_keys_and_those_above(cloud: Cloud) -> None:
    reader = await cloud.token(Role.CLINICIAN)
    for path in ("series", "instances", f"studies/{STUDY}/series", f"studies/{STUDY}/instances"):
        for key, value, found in (
            ("PatientID", "P1", 1),
            ("PatientID", "P2", 0),
            ("PatientName", "HERON*", 1),
            ("Modality", "U?", 1),
            ("Modality", "CT", 0),
            ("Modality", "CT,US", 1),
            ("ModalitiesInStudy", "MG,US", 1),
            ("ModalitiesInStudy", "MG,CT", 0),
            ("ModalitiesInStudy", "MG\\US", 0),
            ("SeriesInstanceUID", f"9.9,{SERIES}", 1),
            ("SeriesInstanceUID", "9.9", 0),
            ("StudyInstanceUID", "9.9", 0),
        ):
            answer = await cloud.call("GET", f"/dicomweb/{path}", reader, **{key: value})
            assert (len(answer.json()) if answer.content else 0) == found, (path, key, value)
    for key, found in (("1.2.3.1.1.1", 200), ("1.2.3.1.1.2", 204)):
        assert (
            await cloud.call("GET", "/dicomweb/instances", reader, SOPInstanceUID=key)
        ).status_code == found


async def test_what_is_found_above_its_level_says_where_it_belongs(cloud: Cloud) -> None:
    reader = await cloud.token(Role.CLINICIAN)
    (series,) = (await cloud.call("GET", "/dicomweb/series", reader)).json()
    (instance,) = (await cloud.call("GET", "/dicomweb/instances", reader)).json()
    (of_study,) = (await cloud.call("GET", f"{ROOT}/{STUDY}/instances", reader)).json()
    assert series["00100020"]["Value"] == instance["00100020"]["Value"] == ["P1"]
    assert instance["00080060"]["Value"] == of_study["00080060"]["Value"] == ["US"]
    assert "00100020" not in of_study
    assert series["00081190"]["Value"] == [f"https://cloud.example{ROOT}/{STUDY}/series/{SERIES}"]
    assert instance["00081190"]["Value"] == [
        f"https://cloud.example{ROOT}/{STUDY}/series/{SERIES}/instances/{INSTANCE}"
    ]


async def test_a_page_that_is_not_the_last_says_how_much_follows(cloud: Cloud) -> None:
    for number in range(5):
        await cloud.store(HERON, "radiology-heron", f"1.2.3.4.{number}", str(number).encode())
    reader = await cloud.token(Role.CLINICIAN)
    first = await cloud.call("GET", "/dicomweb/instances", reader, limit=2, offset=1)
    assert (
        first.headers["warning"]
        == '299 swallowtail "There are 3 additional results that can be requested"'
    )
    assert (
        "warning"
        not in (await cloud.call("GET", "/dicomweb/instances", reader, limit=2, offset=4)).headers
    )


async def test_a_limited_token_finds_nothing_of_other_facilities_at_any_level(cloud: Cloud) -> None:
    annex = await cloud.token(Role.CLINICIAN, facilities=frozenset({"annex-heron"}))
    for path in (
        "studies",
        "series",
        "instances",
        f"studies/{STUDY}/series",
        f"studies/{STUDY}/instances",
    ):
        assert (await cloud.call("GET", f"/dicomweb/{path}", annex)).status_code == 204


async def test_a_search_is_answered_in_json_or_not_at_all(cloud: Cloud) -> None:
    headers = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}"}
    for accept, status in (
        ("application/json", 200),
        ('multipart/related; type="application/dicom+xml"', 406),
        ("text/html, */*", 200),
    ):
        assert (
            await cloud.http.get(ROOT, headers=headers | {"Accept": accept})
        ).status_code == status, accept


@pytest.mark.parametrize(
    "path",
    ["instances", f"studies/{STUDY}/instances", f"studies/{STUDY}/series/{SERIES}/instances"],
)
@pytest.mark.parametrize(
    "query",
    [
        [("includefield", "PixelData")],
        [("includefield", "7FE00010")],
        [("includefield", "PatientID, PixelData,00091001")],
        [("includefield", "ImageComments"), ("includefield", "PixelData.00091001,")],
        [("includefield", "all")],
        [("includefield", "All,PatientID")],
    ],
)
async def test_an_instance_comes_with_what_is_asked_of_its_data_set(
    cloud: Cloud, path: str, query: list[tuple[str, str]]
) -> None:
    headers = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}"}
    plain = (await cloud.http.get(f"/dicomweb/{path}", headers=headers)).json()
    answer = await cloud.http.get(f"/dicomweb/{path}", headers=headers, params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    (instance,) = answer.json()
    series = f"https://cloud.example{ROOT}/{STUDY}/series/{SERIES}"
    uri = f"{series}/instances/{INSTANCE}/bulkdata/7FE00010"
    assert instance["7FE00010"] == {"vr": "OB", "BulkDataURI": uri}
    assert ("00100020" in instance) is (
        "00100020" in plain[0] or "PatientID" in query[0][1] or query == [("includefield", "all")]
    )
    assert {tag: instance[tag] for tag in plain[0]} == plain[0]
    assert set(instance) - set(plain[0]) <= {"7FE00010", "00100020"}


async def test_studies_and_series_come_with_all_that_is_kept_anyway(cloud: Cloud) -> None:
    reader = await cloud.token(Role.CLINICIAN)
    for path in ("studies", "series", f"studies/{STUDY}/series"):
        plain = await cloud.call("GET", f"/dicomweb/{path}", reader)
        for asked in ("all", "PatientSex,PixelData", ""):
            assert (
                await cloud.call("GET", f"/dicomweb/{path}", reader, includefield=asked)
            ).json() == plain.json()


@pytest.mark.parametrize("path", ["studies", "series", "instances"])
async def test_a_field_that_no_dictionary_knows_is_named(cloud: Cloud, path: str) -> None:
    reader = await cloud.token(Role.CLINICIAN)
    for asked in ("Nonsense", "PatientID,Nonsense", "PatientID.Nonsense", "0010002", "0010,0020"):
        answer = await cloud.call("GET", f"/dicomweb/{path}", reader, includefield=asked)
        assert answer.status_code == 400
        assert asked[-8:].strip(",.") in answer.json()["detail"].replace(", ", ",")
        assert answer.json()["errors"][0]["field"] == "includefield"
        assert "keyword" in answer.json()["remedy"]
    many = ",".join(f"0009{number:04}" for number in range(300))
    assert (
        await cloud.call("GET", f"/dicomweb/{path}", reader, includefield=many)
    ).status_code == 400


async def test_pages_with_documents_are_the_same_pages(cloud: Cloud) -> None:
    for number in range(5):
        await cloud.store(HERON, "radiology-heron", f"1.2.3.4.{number}", str(number).encode())
    reader = await cloud.token(Role.CLINICIAN)
    plain = await cloud.call("GET", "/dicomweb/instances", reader, limit=3, offset=1)
    page = await cloud.call(
        "GET", "/dicomweb/instances", reader, limit=3, offset=1, includefield="PixelData"
    )
    assert [one["00080018"] for one in page.json()] == [one["00080018"] for one in plain.json()]
    assert page.headers["warning"] == plain.headers["warning"]
    nothing = await cloud.call(
        "GET", "/dicomweb/instances", reader, SOPInstanceUID="9.9", includefield="all"
    )
    assert nothing.status_code == 204


def test_a_query_string_is_read_once_for_all() -> None:
    query = [
        ("PatientName", "Her*"),
        ("fuzzymatching", "true"),
        ("limit", "7"),
        ("offset", "3"),
        ("includefield", "all"),
    ]
    assert read_keys(query, STUDY_KEYS) == ({"PatientName": "Her*"}, Window(3, 7), True)
    assert read_keys([("limit", "5000")], STUDY_KEYS)[1].limit == 1000
    with pytest.raises(ProblemError):
        read_keys([("limit", "٣")], STUDY_KEYS)


def test_what_is_not_known_has_no_value() -> None:
    study = study_json(
        Study(uid="1", study_date=dt.date(2026, 1, 2), study_time=dt.time(3, 4, 5, 60)), "x"
    )
    assert study["00100010"] == {"vr": "PN"}
    assert study["00080020"]["Value"] == ["20260102"]
    assert study["00080030"]["Value"] == ["030405.000060"]


async def test_a_study_of_another_tenant_is_not_found(cloud: Cloud) -> None:
    stranger = await cloud.token(Role.CLINICIAN, Tenant("egret"))
    await cloud.store(HERON, "radiology-heron", "1.2.3.9.9", b"only heron")
    assert (
        await cloud.call("GET", f"{ROOT}/{STUDY}/series/{SERIES}/instances/1.2.3.9.9", stranger)
    ).status_code == 404


def test_the_conformance_page_names_every_key_of_every_level() -> None:
    rows = [
        line
        for line in Path("docs/conformance/dicomweb.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `GET")
    ]
    assert [row.split("|")[2].strip().split(", ") for row in rows] == [
        list(keys) for keys in (STUDY_KEYS, SERIES_KEYS, INSTANCE_KEYS)
    ]
