"""Deliveries over the API.

Found, shown with their last outcome, and what a person may do with them.
"""

from typing import Any

import msgspec
import pytest

from swallowtail.cloud.model.delivery import (
    AttemptFacts,
    BreakerState,
    DeliveryState,
    DestinationState,
    FailureSubject,
    NewDelivery,
    Settlement,
    Target,
)
from swallowtail.cloud.model.tenancy import Role
from tests.unit.cloud.web.conftest import EGRET, HERON, INSTANCE, NOW, STUDY, Cloud

LINK = "annex-link-heron"
PACS = Target(link=LINK, destination="pacs")
ID = f"{LINK}:pacs"
DELIVERY = "deliveries/1"


async def settle(
    cloud: Cloud, state: DeliveryState, destination: DestinationState | None = None, **more: Any
) -> None:
    """Let the one delivery be tried, with this end."""
    claim = await cloud.records.deliveries.claim(HERON, PACS, 1, now=NOW, until=NOW + 60)
    (lease,) = claim.leases
    settlement = Settlement(
        tenant=HERON, delivery=lease.delivery.id, token=lease.token, state=state, **more
    )
    assert await cloud.records.deliveries.settle([settlement], destination, now=NOW)


async def test_a_delivery_shows_its_last_outcome_in_dicoms_own_words(cloud: Cloud) -> None:
    refused = {
        "status": 0xA900,
        "about": FailureSubject.PAYLOAD,
        "phase": "response",
        "detail": "the data set does not match",
    }
    await settle(cloud, DeliveryState.DEAD_LETTER, refused=True, **refused)
    shown = (await cloud.call("GET", DELIVERY, await cloud.token(Role.CLINICIAN))).json()
    assert (shown["state"], shown["status"], shown["about"], shown["phase"]) == (
        "dead-letter",
        "A900",
        "payload",
        "response",
    )
    assert (
        shown["tries"],
        shown["refusals"],
        shown["destination"],
        shown["payload"]["sop_instance"],
    ) == (
        1,
        1,
        ID,
        INSTANCE,
    )
    assert "lane" not in shown, "its key is the patient's"


async def test_the_attempts_of_a_delivery_tell_what_happened(cloud: Cloud) -> None:
    tried = AttemptFacts(
        began=NOW,
        ended=NOW + 2,
        epoch=3,
        configuration=1,
        connection=0,
        sent_format="1.2.840.10008.1.2",
    )
    refused = {
        "status": 0xA900,
        "about": FailureSubject.PAYLOAD,
        "phase": "response",
        "detail": "the data set does not match",
    }
    await settle(cloud, DeliveryState.PENDING, refused=True, attempt=tried, **refused)
    await settle(cloud, DeliveryState.DELIVERED, status=0, attempt=tried)
    clinician = await cloud.token(Role.CLINICIAN)
    first = (await cloud.call("GET", f"{DELIVERY}/attempts", clinician, limit=1)).json()
    second = (
        await cloud.call("GET", f"{DELIVERY}/attempts", clinician, cursor=first["next"])
    ).json()
    assert [(one["number"], one["state"], one["status"]) for one in first["items"]] == [
        (2, "delivered", "0000")
    ]
    assert second["items"] == [
        {
            "number": 1,
            "began": NOW,
            "ended": NOW + 2,
            "state": "pending",
            "status": "A900",
            "about": "payload",
            "phase": "response",
            "detail": "the data set does not match",
            "comment": "",
            "seconds": None,
            "sent_format": "1.2.840.10008.1.2",
            "epoch": 3,
            "configuration": 1,
            "connection": 0,
        }
    ]
    elsewhere = await cloud.token(Role.CLINICIAN, facilities=frozenset({"annex-heron"}))
    assert (await cloud.call("GET", f"{DELIVERY}/attempts", elsewhere)).status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, True),
        ({"state": ["pending", "dead-letter"]}, True),
        ({"state": "dead-letter"}, False),
        ({"destination": ID}, True),
        ({"destination": f"{LINK}:other"}, False),
        ({"link": LINK}, True),
        ({"link": "radiology-heron"}, False),
        ({"study": STUDY}, True),
        ({"study": "9.9"}, False),
        ({"sop_instance": INSTANCE, "link": LINK, "destination": ID}, True),
    ],
)
async def test_deliveries_are_found_by_what_they_have_in_common(
    cloud: Cloud, query: dict[str, Any], found: bool
) -> None:
    answer = await cloud.call("GET", "deliveries", await cloud.token(Role.INTEGRATOR), **query)
    assert [item["id"] for item in answer.json()["items"]] == ([1] if found else [])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"state": "lost"}, 422),
        ({"destination": "pacs"}, 404),
        ({"destination": "annex-link-egret:pacs"}, 404),
        ({"link": "annex-link-egret"}, 404),
        ({"link": "radiology-heron", "destination": ID}, 422),
        ({"study": "x"}, 422),
    ],
)
async def test_a_filter_that_cannot_be_meant_is_refused(
    cloud: Cloud, query: dict[str, Any], status: int
) -> None:
    answer = await cloud.call("GET", "deliveries", await cloud.token(Role.INTEGRATOR), **query)
    assert answer.status_code == status, answer.text
    assert answer.json()["remedy"]


async def test_park_resend_and_skip_follow_each_other(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    parked = (
        await cloud.call("POST", f"{DELIVERY}/park", admin, {"reason": "ask the sender"})
    ).json()
    assert (parked["state"], parked["detail"]) == ("parked", "ask the sender")
    again = await cloud.call("POST", f"{DELIVERY}/park", admin, {})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert "park failed: the delivery is parked" in again.json()["detail"]
    assert (await cloud.call("POST", f"{DELIVERY}/resend", admin)).json()["state"] == "pending"
    skipped = (
        await cloud.call("POST", f"{DELIVERY}/skip", admin, {"reason": "wrong patient"})
    ).json()
    assert (skipped["state"], skipped["detail"]) == ("skipped", "wrong patient")
    assert (await cloud.call("POST", f"{DELIVERY}/retry", admin)).status_code == 409
    events = [record.event for record in (await cloud.records.audit.records(HERON)).items]
    (skip, resend, *_) = [event for event in events if event.type.startswith("delivery.")]
    assert (skip.type, skip.detail, resend.type) == (
        "delivery.skip",
        "wrong patient",
        "delivery.resend",
    )
    assert ("instance", INSTANCE) in skip.objects
    assert f"deliveries/{LINK}" in cloud.bus.published


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 401}])
async def test_giving_up_needs_a_reason(cloud: Cloud, body: dict[str, str]) -> None:
    answer = await cloud.call(
        "POST", f"{DELIVERY}/skip", await cloud.token(Role.ADMINISTRATOR), body
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "$.reason"


async def test_what_is_under_way_is_let_end(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    await cloud.records.deliveries.claim(HERON, PACS, 1, now=NOW, until=NOW + 60)
    for act, body in (("park", {}), ("skip", {"reason": "x"}), ("resend", None), ("retry", None)):
        answer = await cloud.call("POST", f"{DELIVERY}/{act}", admin, body)
        assert answer.status_code == 409, act
    many = await cloud.call(
        "POST",
        "deliveries/bulk-actions",
        admin,
        {"action": "skip", "destination": ID, "reason": "x"},
    )
    assert many.json() == {"changed": 0}


async def test_retry_tries_at_once_in_its_place_even_a_destination_that_waits(cloud: Cloud) -> None:
    admin = await cloud.token(Role.INTEGRATOR)
    failing = DestinationState(
        target=PACS, breaker=BreakerState.OPEN, failures=9, retry_at=NOW + 300
    )
    await settle(
        cloud,
        DeliveryState.PENDING,
        failing,
        next_at=NOW + 300,
        status=None,
        about=FailureSubject.DESTINATION,
    )
    assert not (
        await cloud.records.deliveries.claim(HERON, PACS, 1, now=NOW, until=NOW + 60)
    ).leases
    await cloud.call("POST", f"destinations/{ID}/pause", admin)
    paused = await cloud.call("POST", f"{DELIVERY}/retry", admin)
    assert (paused.status_code, paused.json()["code"]) == (409, "conflict")
    assert "resume it" in paused.json()["detail"]
    cloud.sessions.live.clear()
    await cloud.call("POST", f"destinations/{ID}/resume", admin)
    await cloud.records.deliveries.claim(
        HERON, PACS, 1, now=NOW, until=NOW - 1
    )  # a lease that has lapsed
    shown = (await cloud.call("POST", f"{DELIVERY}/retry", admin)).json()
    assert (shown["state"], shown["next_at"]) == ("pending", 0.0)
    assert (
        len((await cloud.records.deliveries.claim(HERON, PACS, 1, now=NOW, until=NOW + 60)).leases)
        == 1
    )


async def test_all_dead_letters_of_a_destination_are_sent_again_at_once(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    await cloud.store(HERON, "radiology-heron", "1.2.3.1.1.2", b"second")
    desired = NewDelivery(target=PACS, kind="instance", reference=3, cause="person:x/1")
    await cloud.records.deliveries.add(HERON, [desired], now=NOW)
    for _ in range(2):
        await settle(cloud, DeliveryState.DEAD_LETTER)
    body = {"action": "resend", "destination": ID, "states": ["dead-letter"]}
    assert (await cloud.call("POST", "deliveries/bulk-actions", admin, body)).json() == {
        "changed": 2
    }
    assert (await cloud.call("POST", "deliveries/bulk-actions", admin, body)).json() == {
        "changed": 0
    }
    states = [
        item["state"] for item in (await cloud.call("GET", "deliveries", admin)).json()["items"]
    ]
    assert states == ["pending", "pending"]
    some = {"action": "park", "deliveries": [1], "reason": "one of them"}
    assert (await cloud.call("POST", "deliveries/bulk-actions", admin, some)).json() == {
        "changed": 1
    }
    event = (await cloud.records.audit.records(HERON)).items[0].event
    assert (event.type, event.objects, event.detail) == (
        "deliveries.park",
        (("delivery", "1"),),
        "one of them",
    )


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"action": "skip", "destination": ID}, 422, "$.reason"),
        ({"action": "resend"}, 422, "$.destination"),
        ({"action": "resend", "states": ["dead-letter"]}, 422, "$.destination"),
        ({"action": "burn", "destination": ID}, 422, "$.action"),
        ({"action": "resend", "deliveries": [2]}, 404, None),
        ({"action": "resend", "deliveries": [0]}, 422, "$.deliveries[0]"),
        ({"action": "resend", "destination": "annex-link-egret:pacs"}, 404, None),
    ],
)
async def test_a_wish_for_many_says_what_is_wrong_with_it(
    cloud: Cloud, body: Any, status: int, field: str | None
) -> None:
    answer = await cloud.call(
        "POST", "deliveries/bulk-actions", await cloud.token(Role.ADMINISTRATOR), body
    )
    assert answer.status_code == status, answer.text
    if field:
        assert answer.json()["errors"][0]["field"] == field


async def test_a_stored_study_is_sent_on_request_and_once_per_request(cloud: Cloud) -> None:
    clinician = await cloud.token(Role.CLINICIAN)
    body = {"destinations": [ID, ID], "priority": 5, "request": "second-opinion"}
    sent = await cloud.call("POST", f"studies/{STUDY}/send", clinician, body)
    assert sent.json() == {"request": "second-opinion", "queued": 1}
    assert (await cloud.call("POST", f"studies/{STUDY}/send", clinician, body)).json()[
        "queued"
    ] == 0
    fresh = (
        await cloud.call("POST", f"studies/{STUDY}/send", clinician, {"destinations": [ID]})
    ).json()
    assert fresh["queued"] == 1
    assert len(fresh["request"]) == 16
    newest = (await cloud.call("GET", "deliveries", clinician)).json()["items"]
    me = (await cloud.call("GET", "whoami", clinician)).json()["id"]
    assert [(item["cause"], item["priority"]) for item in newest[:2]] == [
        (f"person:{me}/{fresh['request']}", 0),
        (f"person:{me}/second-opinion", 5),
    ]
    assert (await cloud.records.audit.records(HERON)).items[0].event.type == "study.send"


@pytest.mark.parametrize(
    ("study", "body", "status", "field"),
    [
        ("9.9", {"destinations": [ID]}, 404, None),
        (STUDY, {"destinations": [ID], "sop_instances": ["9.9"]}, 404, None),
        (STUDY, {"destinations": [ID, f"{LINK}:nowhere"]}, 422, "$.destinations[1]"),
        (STUDY, {"destinations": ["annex-link-egret:pacs"]}, 422, "$.destinations[0]"),
        (STUDY, {"destinations": []}, 422, "$.destinations"),
        (STUDY, {"destinations": [ID], "request": "Ä"}, 422, "$.request"),
    ],
)
async def test_what_cannot_be_sent_is_named_and_nothing_is_queued(
    cloud: Cloud, study: str, body: Any, status: int, field: str | None
) -> None:
    clinician = await cloud.token(Role.CLINICIAN)
    answer = await cloud.call("POST", f"studies/{study}/send", clinician, body)
    assert answer.status_code == status, answer.text
    if field:
        assert answer.json()["errors"][0]["field"] == field
    assert len((await cloud.call("GET", "deliveries", clinician)).json()["items"]) == 1


async def test_facilities_limit_what_is_seen_changed_and_sent(cloud: Cloud) -> None:
    """The instance came into `main`, the destination hangs on the Link of `annex`.

    Only who may see both sees the delivery.
    """
    limited = {
        name: await cloud.token(Role.INTEGRATOR, facilities=frozenset({f"{name}-heron"}))
        for name in ("main", "annex")
    }
    many = {"action": "skip", "reason": "x", "payload": {"study": STUDY}}
    named = {"action": "skip", "reason": "x", "deliveries": [1]}
    for token in limited.values():
        assert (await cloud.call("GET", DELIVERY, token)).status_code == 404
        assert (await cloud.call("GET", f"{DELIVERY}/attempts", token)).status_code == 404
        assert (await cloud.call("GET", "deliveries", token)).json()["items"] == []
        for act, body in (
            ("park", {}),
            ("skip", {"reason": "x"}),
            ("resend", None),
            ("retry", None),
        ):
            assert (
                await cloud.call("POST", f"{DELIVERY}/{act}", token, body)
            ).status_code == 404, act
        assert (await cloud.call("POST", "deliveries/bulk-actions", token, many)).json() == {
            "changed": 0
        }
        assert (
            await cloud.call("POST", "deliveries/bulk-actions", token, named)
        ).status_code == 404
    assert (
        await cloud.call("GET", "deliveries", limited["main"], destination=ID)
    ).status_code == 404
    sent = await cloud.call(
        "POST", f"studies/{STUDY}/send", limited["annex"], {"destinations": [ID]}
    )
    assert sent.status_code == 404, "the study is in another facility"
    sent = await cloud.call(
        "POST", f"studies/{STUDY}/send", limited["main"], {"destinations": [ID]}
    )
    assert sent.json()["errors"][0]["field"] == "$.destinations[0]", (
        "the destination is in another facility"
    )
    (shown,) = (await cloud.call("GET", "destinations", limited["annex"])).json()["items"]
    assert (shown["queue"]["counts"], shown["queue"]["oldest"]) == ({}, None), (
        "what waits is another facility's"
    )
    both = await cloud.token(Role.INTEGRATOR, facilities=frozenset({"main-heron", "annex-heron"}))
    (shown,) = (await cloud.call("GET", "destinations", both)).json()["items"]
    assert shown["queue"]["counts"] == {"pending": 1}
    assert (await cloud.call("GET", DELIVERY, both)).status_code == 200
    assert (await cloud.call("POST", "deliveries/bulk-actions", both, many)).json() == {
        "changed": 1
    }


async def test_another_tenants_queue_is_untouched(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    body = {"action": "skip", "payload": {"study": STUDY}, "reason": "x"}
    assert (await cloud.call("POST", "deliveries/bulk-actions", admin, body)).json() == {
        "changed": 1
    }
    theirs = await cloud.records.deliveries.delivery(EGRET, 2)
    assert theirs.state is DeliveryState.PENDING
    assert msgspec.structs.asdict(theirs)["payload"].parent == STUDY
