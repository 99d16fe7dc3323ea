"""Who is let in: the same way and the same words for every wrong code, over the stores' twin."""

import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swallowtail.cloud.link_administration.admission import LinkAdmission
from swallowtail.cloud.links.authentication import CODE_WAIT, Gate, Refusal, verify
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.credentials import KeyedHash, mint_code
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import (
    Admitted,
    Facility,
    Link,
    Organisation,
    OrganisationState,
    SecurityCode,
    Tenant,
)
from swallowtail.cloud.records.records import Records
from swallowtail.wire.control import Hello, RefuseReason
from swallowtail.wire.handshake import HelloReceived
from tests.doubles.memory_database import CommittedRows, MemoryDatabase

NOW = 1_795_500_000.0
HERON = Tenant("heron")
EVENT = AuditEvent(event=EventId.APPLICATION_ACTIVITY, action=EventAction.CREATE, actor="test")
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
HERE = "192.0.2.1"


class Place:
    """One Link with a new code, its gate, and a count of the queries of the store."""

    def __init__(self) -> None:
        self.records = Records(MemoryDatabase(CommittedRows()))
        self.hashes, self.code = KeyedHash(b"p" * 32), mint_code()
        self.gate = Gate(LinkAdmission(self.records.links, self.hashes, clock=lambda: NOW))
        self.asked: list[bytes] = []
        admit = self.records.links.admit

        async def counted(code: bytes, key: bytes, **rest: Any) -> Any:
            self.asked.append(code)
            return await admit(code, key, **rest)

        self.records.links.admit = counted  # type: ignore[method-assign]

    async def populate(self) -> None:
        organisations = self.records.organisations
        await organisations.add_organisation(
            Organisation(id=HERON, name="heronsgate", created=NOW), now=NOW, event=EVENT
        )
        await organisations.put_facility(
            HERON, Facility(id="f", name="main", time_zone="UTC"), now=NOW, event=EVENT
        )
        link = Link(id="l", facility="f", name="radiology", created=NOW)
        await self.records.links.add(HERON, link, self.coded(self.code), now=NOW, event=EVENT)

    def coded(self, code: str) -> SecurityCode:
        return SecurityCode(digest=self.hashes.of_code(code), until=NOW + 60)

    async def judge(
        self, code: str, key: bytes = KEY, *, proved: bool = True
    ) -> Admitted | Refusal:
        hello = Hello(
            version=1,
            release="0.1.0",
            capabilities=(),
            code=code,
            key=key,
            proof=bytes(64),
            budget=0,
            channels=1,
        )
        return await self.gate.judge(HelloReceived(hello, proved), HERE)


@pytest.fixture
async def place() -> Place:
    made = Place()
    await made.populate()
    return made


async def test_a_good_code_is_admitted_and_every_admission_raises_the_epoch(place: Place) -> None:
    first = await place.judge(place.code.lower().replace("-", " "))
    assert isinstance(first, Admitted)
    assert (first.link.epoch, first.bound, first.tenant) == (1, True, HERON)
    second = await place.judge(place.code)
    assert isinstance(second, Admitted)
    assert (second.link.epoch, second.bound) == (2, False)


async def test_every_wrong_code_hears_the_same_after_the_same_look(place: Place) -> None:
    await place.judge(place.code)
    await place.records.links.revoke(HERON, "l", now=NOW, event=EVENT)
    place.asked.clear()
    mistyped = place.code[:-1] + ("0" if place.code[-1] != "0" else "1")
    answers = [
        await place.judge(mint_code()),
        await place.judge(place.code),
        await place.judge(mistyped),
        await place.judge(""),
        await place.judge(place.code, proved=False),
    ]
    assert set(answers) == {
        Refusal(RefuseReason.CODE, "the security code is unknown, revoked or mistyped", CODE_WAIT)
    }
    assert len(place.asked) == len(answers), "each is looked up, so that none is answered sooner"


async def test_a_good_code_without_proof_binds_nothing(place: Place) -> None:
    assert isinstance(await place.judge(place.code, OTHER_KEY, proved=False), Refusal)
    assert isinstance(await place.judge(place.code, KEY), Admitted)


async def test_another_key_hears_of_it_and_raises_the_alarm(place: Place) -> None:
    await place.judge(place.code)
    refused = await place.judge(place.code, OTHER_KEY)
    assert isinstance(refused, Refusal)
    assert refused.reason is RefuseReason.KEY
    assert "rebind" in refused.detail
    (alarm,) = (await place.records.alarms.alarms(HERON)).items
    assert (alarm.condition, alarm.subject) == (Condition.LINK_KEY, "l")


async def test_a_fresh_code_that_waited_too_long_is_no_code(place: Place) -> None:
    late = Gate(LinkAdmission(place.records.links, place.hashes, clock=lambda: NOW + 61))
    place.gate = late
    refused = await place.judge(place.code)
    assert isinstance(refused, Refusal)
    assert refused.reason is RefuseReason.CODE


async def test_wrong_codes_do_not_keep_the_right_one_out(place: Place) -> None:
    for _ in range(1_000):
        assert isinstance(await place.judge(mint_code()), Refusal)
    assert isinstance(await place.judge(place.code), Admitted)
    assert isinstance(await place.judge(place.code, OTHER_KEY), Refusal)
    assert isinstance(await place.judge(place.code), Admitted)


async def test_a_store_that_is_down_is_busy_and_costs_the_link_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> None:
        raise StorageUnavailableError

    monkeypatch.setattr(place.records.links, "admit", down)
    for _ in range(20):
        refused = await place.judge(place.code)
        assert isinstance(refused, Refusal)
        assert refused.reason is RefuseReason.BUSY


def test_a_proof_is_an_ed25519_signature_by_the_key_that_is_shown() -> None:
    key = Ed25519PrivateKey.generate()
    public, message = key.public_key().public_bytes_raw(), secrets.token_bytes(40)
    assert verify(public, key.sign(message), message)
    assert not verify(public, key.sign(message), message + b"x")
    assert not verify(public, Ed25519PrivateKey.generate().sign(message), message)
    assert not verify(b"short", key.sign(message), message)
    assert not verify(public, b"short", message)


async def test_a_suspended_organisations_links_are_not_let_in(place: Place) -> None:
    await place.judge(place.code)
    organisations = place.records.organisations
    await organisations.change_organisation(
        HERON, state=OrganisationState.SUSPENDED, now=NOW, event=EVENT
    )
    refused = await place.judge(place.code)
    assert isinstance(refused, Refusal)
    assert refused.reason is RefuseReason.CODE
    await organisations.change_organisation(
        HERON, state=OrganisationState.ACTIVE, now=NOW, event=EVENT
    )
    assert isinstance(await place.judge(place.code), Admitted)
