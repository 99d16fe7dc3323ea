"""Archives over the API.

Studies put in and out, found by archive, and tokens that see one archive alone.
"""

from typing import Any

import pytest

from swallowtail.cloud.model.tenancy import Role
from tests.unit.cloud.web.conftest import DATA, EGRET, HERON, INSTANCE, SERIES, STUDY, Cloud

HEARTS = "archive-heron"
PLACE = f"archives/{HEARTS}/studies/{STUDY}"
OTHER = "1.2.3.9"
LINK = "radiology-heron"


async def test_an_archive_is_created_renamed_and_deleted(cloud: Cloud) -> None:
    admin = await cloud.token(Role.INTEGRATOR)
    answer = await cloud.call("POST", "archives", admin, {"name": " lungs "})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["name"] == "lungs"
    path = f"archives/{made['id']}"
    assert (await cloud.call("GET", path, admin)).json() == made
    assert (await cloud.call("PATCH", path, admin, {"name": "chest"})).json() == made | {
        "name": "chest"
    }
    for taken in (
        await cloud.call("POST", "archives", admin, {"name": "hearts"}),
        await cloud.call("PATCH", path, admin, {"name": "hearts"}),
    ):
        assert (taken.status_code, taken.json()["code"]) == (409, "conflict")
    listed = (await cloud.call("GET", "archives", await cloud.token(Role.CLINICIAN))).json()[
        "items"
    ]
    assert [one["name"] for one in listed] == ["chest", "hearts"]
    assert (await cloud.call("DELETE", path, admin)).status_code == 204
    assert (await cloud.call("GET", path, admin)).status_code == 404
    for name in ("", " ", "x" * 101):
        assert (await cloud.call("POST", "archives", admin, {"name": name})).status_code == 422


async def test_a_study_is_found_by_its_archive_at_every_level(cloud: Cloud) -> None:
    await cloud.store(HERON, LINK, f"{OTHER}.1", b"other", study=OTHER)
    reader = await cloud.token(Role.CLINICIAN)
    assert (await cloud.call("PUT", PLACE, reader)).status_code == 204
    (study,) = (await cloud.call("GET", "studies", reader, archive=HEARTS)).json()["items"]
    assert (study["uid"], study["archive"]) == (STUDY, HEARTS)
    (instance,) = (await cloud.call("GET", "instances", reader, archive=HEARTS)).json()["items"]
    assert instance["study"] == STUDY
    for path in (
        "studies",
        "series",
        "instances",
        f"studies/{STUDY}/series",
        f"studies/{STUDY}/instances",
    ):
        found = await cloud.call("GET", f"/dicomweb/{path}", reader, archive=HEARTS)
        assert [one["0020000D"]["Value"] for one in found.json()] == [[STUDY]], path
        assert (
            await cloud.call("GET", f"/dicomweb/{path}", reader, archive="archive-egret")
        ).status_code == 204
    assert (await cloud.call("DELETE", PLACE, reader)).status_code == 204
    assert (await cloud.call("DELETE", PLACE, reader)).status_code == 404
    assert (await cloud.call("GET", "studies", reader, archive=HEARTS)).json()["items"] == []
    kinds = [record.event.type for record in (await cloud.records.audit.records(HERON)).items]
    assert [kind for kind in kinds if kind.startswith("archive.")] == [
        "archive.take-out",
        "archive.put",
    ]


async def test_a_token_that_is_limited_to_an_archive_sees_what_is_in_it_and_no_longer(
    cloud: Cloud,
) -> None:
    """The other study is of the same facility, so the archive alone keeps them apart."""
    other = await cloud.store(HERON, LINK, f"{OTHER}.1", DATA + b"!", study=OTHER)
    admin = await cloud.token(Role.ADMINISTRATOR)
    made = await cloud.call(
        "POST", "tokens", admin, {"name": "hearts", "role": "clinician", "archives": [HEARTS]}
    )
    assert (made.status_code, made.json()["archives"]) == (201, [HEARTS])
    limited = made.json()["token"]
    assert (await cloud.call("GET", "whoami", limited)).json()["archives"] == [HEARTS]
    inside = instance_paths(STUDY, SERIES, INSTANCE, 1)
    outside = instance_paths(OTHER, f"{OTHER}.1", f"{OTHER}.1", other)
    await statuses(cloud, limited, [*inside, *outside], 404)
    assert (await cloud.call("PUT", PLACE, admin)).status_code == 204
    await statuses(cloud, limited, inside, 200)
    await statuses(cloud, limited, outside, 404)
    for path in (
        "studies",
        "instances",
        "/dicomweb/studies",
        "/dicomweb/series",
        "/dicomweb/instances",
    ):
        listed = (await cloud.call("GET", path, limited)).json()
        assert len(listed if isinstance(listed, list) else listed["items"]) == 1, path
    assert (await cloud.call("DELETE", PLACE, admin)).status_code == 204
    await statuses(cloud, limited, [*inside, *outside], 404)


def instance_paths(study: str, series: str, instance: str, row: int) -> list[str]:
    web = f"/dicomweb/studies/{study}/series/{series}/instances/{instance}"
    return [
        *(f"instances/{row}{more}" for more in ("", "/file", "/dataset")),
        f"studies/{study}",
        *(f"/dicomweb/studies/{study}{more}" for more in ("", "/metadata", f"/series/{series}")),
        *(f"{web}{more}" for more in ("", "/metadata", "/frames/1", "/bulkdata/7FE00010")),
    ]


async def statuses(cloud: Cloud, token: str, paths: list[str], status: int) -> None:
    for path in paths:
        assert (await cloud.call("GET", path, token)).status_code == status, path


async def test_a_limited_token_moves_studies_between_its_own_archives_alone(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    lungs = (await cloud.call("POST", "archives", admin, {"name": "lungs"})).json()["id"]
    hidden = (await cloud.call("POST", "archives", admin, {"name": "hidden"})).json()["id"]
    await cloud.call("PUT", PLACE, admin)
    limited = await cloud.token(Role.CLINICIAN, archives=frozenset({HEARTS, lungs}))
    assert (
        await cloud.call("PUT", f"archives/{hidden}/studies/{STUDY}", limited)
    ).status_code == 404
    assert (
        await cloud.call("PUT", f"archives/{lungs}/studies/{STUDY}", limited)
    ).status_code == 204
    listed = (await cloud.call("GET", "archives", limited)).json()["items"]
    assert [one["name"] for one in listed] == ["hearts", "lungs"]
    await cloud.call("PUT", f"archives/{hidden}/studies/{STUDY}", admin)
    for act in (
        ("PUT", f"archives/{lungs}"),
        ("DELETE", f"archives/{hidden}"),
        ("DELETE", f"archives/{lungs}"),
    ):
        assert (await cloud.call(act[0], f"{act[1]}/studies/{STUDY}", limited)).status_code == 404
    assert (await cloud.call("GET", f"studies/{STUDY}", admin)).json()["archive"] == hidden


@pytest.mark.parametrize("archives", [["archive-egret"], [HEARTS, "nowhere"]])
async def test_a_token_is_limited_to_archives_that_there_are(
    cloud: Cloud, archives: list[str]
) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    answer = await cloud.call(
        "POST", "tokens", admin, {"name": "x", "role": "clinician", "archives": archives}
    )
    assert answer.json()["errors"][0]["field"] == "$.archives"
    made = (await cloud.call("POST", "tokens", admin, {"name": "x", "role": "clinician"})).json()
    answer = await cloud.call("PATCH", f"tokens/{made['id']}", admin, {"archives": archives})
    assert answer.json()["errors"][0]["field"] == "$.archives"
    changed = await cloud.call("PATCH", f"tokens/{made['id']}", admin, {"archives": [HEARTS]})
    assert changed.json()["archives"] == [HEARTS]
    cleared = await cloud.call("PATCH", f"tokens/{made['id']}", admin, {"archives": None})
    assert cleared.json()["archives"] is None


async def test_a_rule_that_files_is_tried_and_kept(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    body: dict[str, Any] = {
        "name": "file",
        "condition": {"calling_ae": "US1"},
        "action": {"archive": HEARTS},
    }
    made = (await cloud.call("POST", "rules", admin, body)).json()
    assert made["action"] == {"targets": [], "priority": 0, "archive": HEARTS}
    dry = (
        await cloud.call("POST", "rules/dry-run", admin, {"study": STUDY, "rules": [body]})
    ).json()["items"]
    assert [one["archive"] for one in dry] == [HEARTS]
    session_ended = await cloud.call("DELETE", f"archives/{HEARTS}", admin)
    assert (session_ended.status_code, "'file'" in session_ended.json()["detail"]) == (409, True)
    sends = body | {
        "name": "send",
        "condition": {"archives": [HEARTS]},
        "action": {"targets": ["annex-link-heron:pacs"]},
    }
    made = (await cloud.call("POST", "rules", admin, sends)).json()
    assert made["condition"]["archives"] == [HEARTS]


async def test_another_tenants_archive_of_the_same_name_is_another(cloud: Cloud) -> None:
    theirs = await cloud.token(Role.ADMINISTRATOR, EGRET)
    listed = (await cloud.call("GET", "archives", theirs)).json()["items"]
    assert [one["id"] for one in listed] == ["archive-egret"]
    assert (await cloud.call("PUT", PLACE, theirs)).status_code == 404
