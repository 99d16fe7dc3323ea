"""Instances that were acknowledged and cannot be indexed.

Listed, downloaded, indexed again, deleted.
"""

import hashlib
from typing import Any

import pytest

from swallowtail.cloud.index.indexer import TOPIC
from swallowtail.cloud.model.imaging import Arrival, InstanceIdentity, Origin
from swallowtail.cloud.model.indexing import Quarantined
from swallowtail.cloud.model.tenancy import Role
from tests.unit.cloud.web.conftest import HERON, NOW, SYNTAX, Cloud

DATA = b"not a data set"
UID = "1.2.9"


async def keep(
    cloud: Cloud, uid: str = UID, *, link: str = "radiology-heron", state: str = "quarantined"
) -> int:
    """Commit an instance, and let the index fail on it."""
    async with cloud.blobs.incoming(HERON) as incoming:
        await incoming.write(memoryview(DATA))
        blob = await incoming.finish()
    identity = InstanceIdentity(sop_instance=uid, transfer_syntax=SYNTAX, sha256=blob.sha256)
    origin = Origin(link=link, listener="store", calling_ae="US1", called_ae="SWALLOWTAIL")
    arrival = Arrival(
        identity=identity, sop_class="1.2.840.10008.5.1.4.1.1.6.1", length=len(DATA), origin=origin
    )
    receipt = await cloud.records.instances.commit(HERON, arrival, now=NOW)
    if state == "quarantined":
        await cloud.records.index_jobs.claim(9, now=NOW, until=NOW + 9)
        verdict = Quarantined(tenant=HERON, instance=receipt.id, problem="it ends early")
        await cloud.records.index_jobs.settle([verdict], now=NOW)
    return receipt.id


async def listed(cloud: Cloud, token: str, **query: Any) -> list[tuple[int, str]]:
    answer = await cloud.call("GET", "unindexed-instances", token, **query)
    assert answer.status_code == 200, answer.text
    return [(one["id"], one["state"]) for one in answer.json()["items"]]


async def test_they_are_listed_with_the_reason_and_nothing_that_is_indexed(cloud: Cloud) -> None:
    bad, waiting = await keep(cloud), await keep(cloud, "1.2.10", state="waiting")
    token = await cloud.token(Role.CLINICIAN)
    assert await listed(cloud, token) == [(bad, "quarantined"), (waiting, "waiting")]
    assert await listed(cloud, token, state="quarantined") == [(bad, "quarantined")]
    assert await listed(cloud, token, state="waiting") == [(waiting, "waiting")]
    assert await listed(cloud, token, sop_instance="1.2.10") == [(waiting, "waiting")]
    assert await listed(cloud, token, received_since=NOW + 1) == []
    assert await listed(cloud, token, facility="annex-heron") == []
    (item,) = (await cloud.call("GET", "unindexed-instances", token, state="quarantined")).json()[
        "items"
    ]
    assert (item["problem"], item["sop_instance"], item["calling_ae"]) == (
        "it ends early",
        UID,
        "US1",
    )
    assert (
        await cloud.call("GET", "unindexed-instances", token, state="indexed")
    ).status_code == 422


async def test_the_list_is_paged(cloud: Cloud) -> None:
    ids = [await keep(cloud, f"1.2.9.{number}") for number in range(5)]
    token, seen, cursor = await cloud.token(Role.INTEGRATOR), [], {}
    while True:
        page = (await cloud.call("GET", "unindexed-instances", token, limit=2, **cursor)).json()
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == ids


async def test_a_copy_that_is_not_visible_is_listed_too(cloud: Cloud) -> None:
    first = await keep(cloud)
    async with cloud.blobs.incoming(HERON) as incoming:
        await incoming.write(memoryview(b"other bytes"))
        blob = await incoming.finish()
    identity = InstanceIdentity(sop_instance=UID, transfer_syntax=SYNTAX, sha256=blob.sha256)
    origin = Origin(
        link="radiology-heron", listener="store", calling_ae="US1", called_ae="SWALLOWTAIL"
    )
    arrival = Arrival(
        identity=identity, sop_class="1.2.840.10008.5.1.4.1.1.6.1", length=11, origin=origin
    )
    second = (await cloud.records.instances.commit(HERON, arrival, now=NOW)).id
    token = await cloud.token(Role.CLINICIAN)
    assert await listed(cloud, token) == [(first, "quarantined"), (second, "waiting")]


async def test_the_file_holds_the_data_set_as_it_was_received(cloud: Cloud) -> None:
    bad, token = await keep(cloud), await cloud.token(Role.CLINICIAN)
    answer = await cloud.call("GET", f"instances/{bad}/file", token)
    assert answer.status_code == 200
    assert answer.content[128:132] == b"DICM"
    assert answer.content.endswith(DATA)
    assert (await cloud.call("GET", f"instances/{bad}/dataset", token)).content == DATA
    assert hashlib.sha256(DATA).hexdigest() in answer.headers["etag"]


@pytest.mark.parametrize("named", [True, False])
async def test_they_are_queued_again_and_the_indexer_is_notified(cloud: Cloud, named: bool) -> None:
    bad = await keep(cloud)
    token = await cloud.token(Role.INTEGRATOR)
    body = {"instances": [bad]} if named else {}
    answer = await cloud.call("POST", "unindexed-instances/reindex", token, body)
    assert (answer.status_code, answer.json()) == (202, {"queued": 1})
    assert TOPIC in cloud.bus.published
    assert await listed(cloud, token) == [(bad, "waiting")]
    records = (await cloud.records.audit.records(HERON)).items
    (record,) = [one for one in records if one.event.type == "index.requeue"]
    assert record.event.objects == ((("row", str(bad)),) if named else ())


async def test_a_limited_token_sees_and_changes_its_own(cloud: Cloud) -> None:
    mine, others = await keep(cloud), await keep(cloud, "1.2.11", link="annex-link-heron")
    limited = await cloud.token(Role.ADMINISTRATOR, facilities=frozenset({"main-heron"}))
    assert await listed(cloud, limited) == [(mine, "quarantined")]
    assert await listed(cloud, limited, facility="annex-heron") == []
    path = "unindexed-instances/reindex"
    assert (await cloud.call("POST", path, limited, {"instances": [others]})).json() == {
        "queued": 0
    }
    assert (await cloud.call("POST", path, limited, {})).json() == {"queued": 1}
    assert (await cloud.call("GET", f"instances/{others}/file", limited)).status_code == 404
    assert (
        await cloud.call("DELETE", f"instances/{others}", limited, reason="mistaken")
    ).status_code == 404
    everything = await cloud.token(Role.ADMINISTRATOR)
    assert await listed(cloud, everything) == [(mine, "waiting"), (others, "quarantined")]


async def test_deleting_one_clears_its_alarm_and_restoring_lists_it_again(cloud: Cloud) -> None:
    bad, admin = await keep(cloud), await cloud.token(Role.ADMINISTRATOR)
    alarms = (await cloud.call("GET", "alarms", admin)).json()["items"]
    (alarm,) = [one for one in alarms if one["condition"] == "instance-quarantined"]
    assert alarm["subject"] == UID
    for remedy in ("/unindexed-instances", "download", "index it again", "delete"):
        assert remedy in alarm["detail"]
    session_ended = await cloud.call("DELETE", f"instances/{bad}", admin, reason="sent again")
    assert session_ended.status_code == 200, session_ended.text
    assert await listed(cloud, admin) == []
    alarms = (await cloud.call("GET", "alarms", admin)).json()["items"]
    assert [one for one in alarms if one["condition"] == "instance-quarantined"] == []
    again = await keep(cloud, state="waiting")
    assert again != bad
    assert await listed(cloud, admin) == [(again, "waiting")], "the same bytes are new"
