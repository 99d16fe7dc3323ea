"""A second payload kind over the API: its fields, conditions, status and actions."""

from typing import Any

import pytest

from swallowtail.cloud.dispatch.delivery_administration import DeliveryAdministration
from swallowtail.cloud.dispatch.payloads.conditions import named_conditions
from swallowtail.cloud.dispatch.payloads.table import KINDS
from swallowtail.cloud.dispatch.queues import Queues
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.model.delivery import (
    DeliveryState,
    FailureSubject,
    NewDelivery,
    Settlement,
)
from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.model.use_case_errors import InvalidValueError
from swallowtail.cloud.records.deliveries import DeliveryRecords
from swallowtail.cloud.records.payloads import SOURCES
from swallowtail.cloud.web.api.payload_filters import body_schema, query_filters
from tests.doubles.memory_database import MemoryDatabase
from tests.unit.cloud.dispatch.notes import BOARD, NOTE, NOTE_KIND, NOTES, add_notes
from tests.unit.cloud.web.conftest import HERON, NOW, Cloud

ALL_KINDS = {**KINDS, NOTE: NOTE_KIND}


@pytest.fixture
async def noted(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A Cloud with a note that the board has refused at the cap."""
    add_notes(cloud.rows.connection, HERON, "main-heron", "hello")
    deliveries = DeliveryRecords(MemoryDatabase(cloud.rows), {**SOURCES, NOTE: NOTES})
    queues = Queues(
        deliveries=deliveries,
        instances=cloud.records.instances,
        links=cloud.records.links,
        sites=ConfigurationCache(cloud.records.links, cloud.records.configuration),
        bus=cloud.bus,
        clock=lambda: NOW,
        kinds=ALL_KINDS,
    )
    administration = cloud.use_cases.get(DeliveryAdministration)
    monkeypatch.setattr(administration, "_queues", queues)
    new = NewDelivery(target=BOARD, kind=NOTE, reference=1, cause="person:t/1")
    await deliveries.add(HERON, [new], now=NOW)
    (lease,) = (await deliveries.claim(HERON, BOARD, 1, now=NOW, until=NOW + 9)).leases
    refused = Settlement(
        tenant=HERON,
        delivery=lease.delivery.id,
        token=lease.token,
        state=DeliveryState.DEAD_LETTER,
        status=422,
        about=FailureSubject.PAYLOAD,
        phase="response",
        detail="the board refuses it",
    )
    assert await deliveries.settle([refused], None, now=NOW)
    return cloud


async def test_a_note_is_shown_by_its_own_fields(noted: Cloud) -> None:
    admin = await noted.token(Role.ADMINISTRATOR)
    (shown,) = (await noted.call("GET", "deliveries", admin, kind=NOTE)).json()["items"]
    assert shown["payload"] == {"kind": NOTE, "note": 1, "subject": "hello"}
    assert (shown["status"], shown["about"]) == ("422 of the board", "payload")
    assert (shown["link"], shown["destination"], shown["facility"]) == ("", ":board", "main-heron")
    got = await noted.call("GET", f"deliveries/{shown['id']}", admin)
    assert got.json() == shown
    (instance,) = (await noted.call("GET", "deliveries", admin, kind="instance")).json()["items"]
    assert instance["payload"]["kind"] == "instance"


async def test_people_act_on_notes_one_by_one_and_in_bulk(noted: Cloud) -> None:
    admin = await noted.token(Role.ADMINISTRATOR)
    (shown,) = (await noted.call("GET", "deliveries", admin, kind=NOTE)).json()["items"]
    one = f"deliveries/{shown['id']}"
    retried = await noted.call("POST", f"{one}/retry", admin)
    assert retried.json()["state"] == "pending"
    assert "deliveries/" in noted.bus.published, "the Cloud's own route is woken"
    for action, state in (("park", "parked"), ("resend", "pending"), ("skip", "skipped")):
        body: dict[str, Any] = {"action": action, "payload": {"subject": "hello"}, "reason": "x"}
        answer = await noted.call("POST", "deliveries/bulk-actions", admin, body)
        assert answer.json() == {"changed": 1}, action
        assert (await noted.call("GET", one, admin)).json()["state"] == state
    event = (await noted.records.audit.records(HERON)).items[0].event
    assert (event.type, event.objects) == ("deliveries.skip", (("subject", "hello"),))


async def test_a_note_is_hidden_from_who_is_limited_to_facilities(noted: Cloud) -> None:
    """No Link of these facilities sends it."""
    limited = await noted.token(Role.INTEGRATOR, facilities=frozenset({"main-heron"}))
    assert (await noted.call("GET", "deliveries", limited, kind=NOTE)).json()["items"] == []


async def test_an_unknown_field_of_a_payload_is_refused(noted: Cloud) -> None:
    admin = await noted.token(Role.ADMINISTRATOR)
    body = {"action": "park", "payload": {"colour": "red"}}
    answer = await noted.call("POST", "deliveries/bulk-actions", admin, body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "$.payload.colour")


def test_the_conditions_of_every_kind_are_parameters() -> None:
    read = query_filters(ALL_KINDS)
    assert read(subject="hello", kind=NOTE, study=None) == {"identifier": "hello", "kind": NOTE}
    assert "subject" in body_schema(ALL_KINDS)["properties"]
    with pytest.raises(InvalidValueError):
        named_conditions(ALL_KINDS, {"subject": "a", "sop_instance": "1.2"}, field="$.payload")
