"""Index jobs over the API."""

from swallowtail.cloud.index.indexer import TOPIC
from swallowtail.cloud.model.tenancy import Role
from tests.unit.cloud.web.conftest import EGRET, HERON, STUDY, Cloud


async def test_everything_is_queued_again_and_the_indexer_is_notified(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    before = (await cloud.call("GET", "index-jobs", admin)).json()
    answer = await cloud.call("POST", "index-jobs", admin, {})
    assert (answer.status_code, answer.json()) == (202, {"queued": 1})
    assert TOPIC in cloud.bus.published
    assert (
        before["waiting"],
        (await cloud.call("GET", "index-jobs", admin)).json()["waiting"],
    ) == (0, 1)
    other = await cloud.token(Role.ADMINISTRATOR, EGRET)
    assert (await cloud.call("GET", "index-jobs", other)).json()["waiting"] == 0
    (record, *_) = (await cloud.records.audit.records(HERON)).items
    assert record.event.type == "index.rebuild"


async def test_one_study_is_queued(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    assert (await cloud.call("POST", "index-jobs", admin, {"study": STUDY})).json() == {"queued": 1}
    assert (await cloud.call("POST", "index-jobs", admin, {"study": "1.9.9"})).json() == {
        "queued": 0
    }
    assert (await cloud.call("POST", "index-jobs", admin, {"study": "1..9"})).status_code == 422


async def test_a_token_limited_to_a_facility_does_not_index_the_organisation(cloud: Cloud) -> None:
    limited = await cloud.token(Role.ADMINISTRATOR, facilities=frozenset({"main-heron"}))
    assert (await cloud.call("POST", "index-jobs", limited, {})).status_code == 403
    assert (await cloud.call("GET", "index-jobs", limited)).status_code == 403
