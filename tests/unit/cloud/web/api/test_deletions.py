"""Deleting and restoring over REST.

Who may, what is found afterwards, and that repeating changes nothing.
"""

import hashlib
from typing import Any

import pytest

from swallowtail.cloud.model.audit import EventId
from swallowtail.cloud.model.tenancy import DAY, Role
from tests.unit.cloud.web.conftest import DATA, HERON, INSTANCE, NOW, SERIES, STUDY, Cloud

REASON = "sent to the wrong patient"
WHOLE = f"studies/{STUDY}"
PLACES = [
    WHOLE,
    f"{WHOLE}/series/{SERIES}",
    f"{WHOLE}/series/{SERIES}/instances/{INSTANCE}",
    "instances/1",
]
READS = (
    f"/dicomweb/studies/{STUDY}",
    f"/dicomweb/studies/{STUDY}/metadata",
    f"/dicomweb/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}/frames/1",
    "instances/1",
    "instances/1/file",
    WHOLE,
)


async def delete(cloud: Cloud, path: str = WHOLE, token: str | None = None, **query: str) -> Any:
    owner = token or await cloud.token(Role.ADMINISTRATOR)
    return await cloud.call("DELETE", path, owner, **({"reason": REASON} | query))


@pytest.mark.parametrize("path", PLACES)
async def test_what_is_deleted_is_found_nowhere_until_it_is_restored(
    cloud: Cloud, path: str
) -> None:
    admin, reader = await cloud.token(Role.ADMINISTRATOR), await cloud.token(Role.CLINICIAN)
    answer = await delete(cloud, path)
    assert answer.status_code == 200
    made = answer.json()
    assert (made["state"], made["instances"], made["restored"], made["purged"]) == (
        "deleted",
        1,
        0,
        0,
    )
    assert (made["reason"], made["deleted"], made["until"]) == (REASON, NOW, NOW + 30 * DAY)
    for read in READS:
        assert (await cloud.call("GET", read, reader)).status_code == 404, read
    for listing in ("studies", "instances?hidden=true", f"studies/{STUDY}/series"):
        assert (await cloud.call("GET", listing, reader)).json()["items"] == []
    assert (await cloud.call("GET", "/dicomweb/studies", reader)).status_code == 204
    listed = (await cloud.call("GET", f"deletions/{made['id']}/instances", admin)).json()["items"]
    assert [(one["id"], one["sop_instance"]) for one in listed] == [(1, INSTANCE)]
    restored = await cloud.call("POST", f"deletions/{made['id']}/restore", admin, {})
    assert (restored.json()["state"], restored.json()["restored"]) == ("restored", 1)
    found = await cloud.call("GET", "instances/1/dataset", reader)
    assert hashlib.sha256(found.content).digest() == hashlib.sha256(DATA).digest()
    for read in READS:
        assert (await cloud.call("GET", read, reader)).status_code == 200, read


@pytest.mark.parametrize("path", PLACES)
async def test_repeating_a_deletion_returns_the_same_one(cloud: Cloud, path: str) -> None:
    first, again = (await delete(cloud, path)).json(), (await delete(cloud, path)).json()
    assert again == first
    admin = await cloud.token(Role.ADMINISTRATOR)
    assert [one["id"] for one in (await cloud.call("GET", "deletions", admin)).json()["items"]] == [
        first["id"]
    ]
    await cloud.call("POST", f"deletions/{first['id']}/restore", admin, {})
    assert (await delete(cloud, path)).json()["id"] != first["id"]


@pytest.mark.parametrize(
    "path",
    [
        "studies/9.9",
        f"{WHOLE}/series/9.9",
        f"{WHOLE}/series/{SERIES}/instances/9.9",
        "instances/99",
    ],
)
async def test_what_is_not_there_is_not_found(cloud: Cloud, path: str) -> None:
    assert (await delete(cloud, path)).status_code == 404
    assert (await cloud.call("GET", "deletions", await cloud.token(Role.ADMINISTRATOR))).json()[
        "items"
    ] == []


@pytest.mark.parametrize("reason", ["", "  x  ", "x" * 401])
async def test_a_deletion_needs_a_reason(cloud: Cloud, reason: str) -> None:
    assert (await delete(cloud, reason=reason)).status_code == 422
    assert (
        await cloud.call("DELETE", WHOLE, await cloud.token(Role.ADMINISTRATOR))
    ).status_code == 422
    assert (await cloud.call("GET", WHOLE, await cloud.token(Role.CLINICIAN))).status_code == 200


async def test_the_audit_says_who_deleted_and_restored_what_and_why(cloud: Cloud) -> None:
    made = (await delete(cloud)).json()
    await cloud.call(
        "POST", f"deletions/{made['id']}/restore", await cloud.token(Role.ADMINISTRATOR), {}
    )
    records = (await cloud.call("GET", "audit", await cloud.token(Role.AUDITOR))).json()["items"]
    by_type = {record["type"]: record for record in records}
    removed = by_type["study.delete"]
    assert (removed["event"], removed["action"], removed["detail"]) == (
        EventId.STUDY_DELETED,
        "D",
        REASON,
    )
    assert removed["objects"] == [["deletion", made["id"]], ["study", STUDY]]
    assert removed["actor"] == made["deleted_by"]
    assert by_type["deletion.restore"]["objects"] == [["deletion", made["id"]]]


async def test_a_limited_token_deletes_only_its_part_of_a_study(cloud: Cloud) -> None:
    theirs = await cloud.store(HERON, "annex-link-heron", "1.2.3.1.1.9", b"annex")
    annex = await cloud.token(Role.ADMINISTRATOR, facilities=frozenset({"annex-heron"}))
    main = await cloud.token(Role.ADMINISTRATOR, facilities=frozenset({"main-heron"}))
    assert (await delete(cloud, "instances/1", annex)).status_code == 404
    made = (await delete(cloud, WHOLE, annex)).json()
    assert made["instances"] == 1
    assert (await cloud.call("GET", "instances/1", main)).status_code == 200
    assert (await cloud.call("GET", f"instances/{theirs}", annex)).status_code == 404
    assert (await cloud.call("GET", "deletions", main)).json()["items"] == []
    for method, path in (("GET", ""), ("GET", "/instances"), ("POST", "/restore")):
        assert (
            await cloud.call(method, f"deletions/{made['id']}{path}", main, {})
        ).status_code == 404
    whole = (await delete(cloud, WHOLE)).json()
    seen = (await cloud.call("GET", f"deletions/{whole['id']}", main)).json()
    assert (seen["instances"], seen["state"]) == (1, "deleted")
    assert (await cloud.call("GET", f"deletions/{whole['id']}", annex)).status_code == 404


async def test_a_part_is_restored_by_series_or_by_instance(cloud: Cloud) -> None:
    more = [
        await cloud.store(HERON, "radiology-heron", f"1.2.3.1.1.{number}", b"%d" % number)
        for number in (7, 8)
    ]
    admin = await cloud.token(Role.ADMINISTRATOR)
    made = (await delete(cloud)).json()
    path = f"deletions/{made['id']}/restore"
    assert (await cloud.call("POST", path, admin, {"instances": [more[0]]})).json()["restored"] == 1
    assert (await cloud.call("POST", path, admin, {"series": ["9.9"]})).json()["restored"] == 1
    assert (await cloud.call("POST", path, admin, {"serie": []})).status_code == 422
    assert (await cloud.call("POST", path, admin, {"series": [SERIES]})).json()["restored"] == 3


async def test_many_instances_are_deleted_and_restored_in_batches(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swallowtail.cloud.retention.deleting.AT_ONCE", 2)
    for number in range(20, 25):
        await cloud.store(HERON, "radiology-heron", f"1.2.3.1.1.{number}", b"%d" % number)
    made = (await delete(cloud)).json()
    assert made["instances"] == 6
    admin = await cloud.token(Role.ADMINISTRATOR)
    assert (await cloud.call("POST", f"deletions/{made['id']}/restore", admin, {})).json()[
        "restored"
    ] == 6
    types = [one["type"] for one in (await cloud.call("GET", "audit", admin)).json()["items"]]
    assert (types.count("study.delete"), types.count("deletion.restore")) == (1, 1)


async def test_deleting_wakes_the_queues_that_it_changed(cloud: Cloud) -> None:
    await delete(cloud)
    assert "deliveries/annex-link-heron" in cloud.bus.published
    (delivery,) = (await cloud.call("GET", "deliveries", await cloud.token(Role.CLINICIAN))).json()[
        "items"
    ]
    assert delivery["state"] == "skipped"
    assert "deleted" in delivery["detail"]


@pytest.mark.parametrize(
    "path", [f"/dicomweb/studies/{STUDY}", f"/dicomweb/studies/{STUDY}/series/{SERIES}"]
)
async def test_dicomweb_deletes_nothing(cloud: Cloud, path: str) -> None:
    assert (await delete(cloud, path)).status_code == 405


@pytest.mark.parametrize(
    ("path", "confirm"), list(zip(PLACES, (STUDY, SERIES, INSTANCE, "1"), strict=True))
)
async def test_a_purge_needs_a_deletion_and_its_subject_repeated_and_cannot_be_undone(
    cloud: Cloud, path: str, confirm: str
) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    assert (
        await cloud.call("POST", "deletions/none/purge", admin, {"confirm": confirm})
    ).status_code == 404
    made = (await delete(cloud, path)).json()
    purge = f"deletions/{made['id']}/purge"
    assert (await cloud.call("POST", purge, admin, {})).status_code == 422
    assert (await cloud.call("POST", purge, admin, {"confirm": "9.9"})).status_code == 409
    assert (await cloud.call("GET", f"deletions/{made['id']}", admin)).json()["purged"] == 0
    for _ in range(2):
        done = (await cloud.call("POST", purge, admin, {"confirm": confirm})).json()
        assert (done["state"], done["purged"]) == ("purged", 1)
    assert (await cloud.call("GET", f"deletions/{made['id']}/instances", admin)).json()[
        "items"
    ] == []
    restore = f"deletions/{made['id']}/restore"
    restored = (await cloud.call("POST", restore, admin, {}, unchanged=True)).json()
    assert (restored["state"], restored["restored"]) == ("purged", 0)
    assert (await delete(cloud, path)).status_code == 404
    records = (await cloud.call("GET", "audit", admin)).json()["items"]
    (purged,) = [record for record in records if record["type"] == "deletion.purge"]
    assert purged["event"] == (
        EventId.STUDY_DELETED if path == WHOLE else EventId.INSTANCES_ACCESSED
    )
    assert (purged["action"], purged["detail"]) == ("D", REASON)


async def test_a_locked_study_is_neither_deleted_nor_purged_until_the_lock_is_removed(
    cloud: Cloud,
) -> None:
    admin, lock = await cloud.token(Role.ADMINISTRATOR), f"{WHOLE}/retention-lock"
    made = (await cloud.call("PUT", lock, admin, {"reason": "lawsuit"})).json()
    assert (made["study"], made["reason"], made["since"]) == (STUDY, "lawsuit", NOW)
    assert (await cloud.call("PUT", lock, admin, {"reason": "another"})).json() == made
    assert (await cloud.call("GET", "retention-locks", admin)).json()["items"] == [made]
    for path in PLACES:
        refused = await delete(cloud, path)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict"), path
    assert (await cloud.call("GET", WHOLE, admin)).status_code == 200
    assert (await cloud.call("DELETE", lock, admin)).status_code == 204
    assert (await cloud.call("DELETE", lock, admin)).status_code == 404
    deletion = f"deletions/{(await delete(cloud)).json()['id']}"
    assert (await cloud.call("PUT", lock, admin, {"reason": "lawsuit"})).status_code == 200, (
        "also of what is deleted"
    )
    assert (
        await cloud.call("POST", f"{deletion}/purge", admin, {"confirm": STUDY})
    ).status_code == 409
    assert (await cloud.call("POST", f"{deletion}/restore", admin, {})).json()[
        "state"
    ] == "restored"
    assert (
        await cloud.call("PUT", "studies/9.9/retention-lock", admin, {"reason": "lawsuit"})
    ).status_code == 404
    types = [one["type"] for one in (await cloud.call("GET", "audit", admin)).json()["items"]]
    assert (types.count("retention.lock"), types.count("retention.unlock")) == (2, 1)
