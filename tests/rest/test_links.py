"""The life of a Link, from its code to its last session, against a real Cloud over TLS."""

import asyncio
import secrets
import time
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swallowtail.calls.report import UnmatchedDevice
from swallowtail.calls.store import Committed, NotStored, NotStoredReason, Stored
from swallowtail.cloud.model.credentials import mint_code
from swallowtail.wire.failures import RefusedError
from tests.rest.served import Api, CloudProcess, WireLink, eventually, hospital

DOCUMENT = {"listeners": [{"name": "store", "ae_title": "SWALLOWTAIL", "port": 11112}]}
KILLED_WITHIN = 5.0


@pytest.fixture
def place(served: CloudProcess) -> tuple[Api, dict[str, Any], WireLink]:
    """A hospital of its own for each test.

    Its administrator, its Link as the API shows it, and the machine.
    """
    admin, link = hospital(served, f"h{secrets.token_hex(4)}")
    return admin, link, WireLink(served.url, served.ca, link["code"])


Place = tuple[Api, dict[str, Any], WireLink]


async def refusal(link: WireLink) -> tuple[str, str, float]:
    """Give what the Cloud says to a Link that it does not let in."""
    with pytest.raises(RefusedError) as refused:
        async with link.connected():
            pass
    refuse = refused.value.refuse
    return refuse.reason, refuse.detail, refuse.retry_after


async def test_a_fresh_code_binds_the_first_key_and_no_other(place: Place) -> None:
    admin, link, machine = place
    assert link["code_state"] == "fresh"
    assert link["code_until"] - link["created"] == pytest.approx(14 * 86_400)
    async with machine.connected():
        shown = admin("GET", f"links/{link['id']}")
        assert shown["code_state"] == "bound"
        assert shown["key"] == machine.key.public_key().public_bytes_raw().hex()
        assert shown["session"]["online"]
        assert shown["session"]["address"] == "127.0.0.1"
        assert "code" not in shown
    thief = WireLink(machine.url, machine.ca, link["code"], address="127.0.0.3")
    assert (await refusal(thief))[0] == "key"
    assert [alarm["condition"] for alarm in admin("GET", "alarms")["items"]] == ["link-key"]


async def test_unknown_revoked_and_mistyped_codes_hear_the_same(place: Place) -> None:
    admin, link, machine = place
    admin("POST", f"links/{link['id']}/revoke")
    codes = [
        link["code"],
        mint_code(),
        link["code"][:-1] + ("0" if link["code"][-1] != "0" else "1"),
        "",
        "é" * 300,
    ]
    answers = {
        await refusal(WireLink(machine.url, machine.ca, code, address="127.0.0.4"))
        for code in codes
    }
    assert len(answers) == 1
    reason, _, retry_after = answers.pop()
    assert (reason, retry_after) == ("code", 30.0)


async def test_a_key_without_its_proof_is_refused(place: Place) -> None:
    _, _, machine = place

    class Liar:
        def public_key(self) -> Any:
            return machine.key.public_key()

        def sign(self, message: bytes) -> bytes:
            return Ed25519PrivateKey.generate().sign(message)

    liar = WireLink(machine.url, machine.ca, machine.code, key=Liar(), address="127.0.0.5")  # type: ignore[arg-type]
    assert (await refusal(liar))[0] == "code"


@pytest.mark.parametrize(
    ("act", "reason"), [("rotate", "rotated"), ("revoke", "revoked"), ("rebind", "rebound")]
)
async def test_what_ends_a_code_ends_its_session_at_once(
    place: Place, act: str, reason: str
) -> None:
    admin, link, machine = place
    async with machine.connected() as session:
        began = time.monotonic()
        changed = await asyncio.to_thread(admin, "POST", f"links/{link['id']}/{act}")
        async with asyncio.timeout(KILLED_WITHIN):
            await asyncio.wait([session.closed])
        assert time.monotonic() - began < KILLED_WITHIN
        assert session.peer_goodbye is not None
        assert session.peer_goodbye.reason == reason
    machine.address = "127.0.0.6"
    assert (await refusal(machine))[0] == "code"
    if act == "rotate":
        machine.code = changed["code"]
    elif act == "rebind":
        assert changed["code_until"] == pytest.approx(time.time() + 3600, abs=60)
        machine = WireLink(machine.url, machine.ca, changed["code"])
    else:
        return
    async with machine.connected():
        assert admin("GET", f"links/{link['id']}")["session"]["online"]


async def test_the_same_machine_again_replaces_its_older_session(place: Place) -> None:
    admin, link, machine = place
    async with machine.connected() as older:
        async with machine.connected() as newer:
            async with asyncio.timeout(KILLED_WITHIN):
                await asyncio.wait([older.closed])
            assert older.peer_goodbye is not None
            assert older.peer_goodbye.reason == "replaced"
            assert isinstance(await machine.store(newer, "1.2.3", b"abc"), Committed)
        await eventually(
            lambda: admin("GET", f"links/{link['id']}"),
            lambda shown: not shown["session"]["online"],
        )


async def test_wrong_codes_from_an_address_keep_the_right_one_of_it_out_no_longer_than_they_take(
    place: Place,
) -> None:
    _, _, machine = place
    machine.address = "127.0.0.7"
    async with machine.connected():
        pass  # the key is bound
    guesser = WireLink(machine.url, machine.ca, "", address=machine.address)

    async def guess() -> str:
        guess = replace(guesser, code=mint_code())
        return (await refusal(guess))[0]

    async with asyncio.TaskGroup() as guesses:
        tried = [guesses.create_task(guess()) for _ in range(60)]
        async with asyncio.timeout(KILLED_WITHIN):
            async with machine.connected():
                pass
    assert {task.result() for task in tried} == {"code"}


async def test_a_configuration_is_pushed_compared_and_rolled_back(place: Place) -> None:
    admin, link, machine = place
    path = f"links/{link['id']}/configuration"
    async with machine.connected():
        for version, port in ((1, 11112), (2, 104)):
            document = {"listeners": [DOCUMENT["listeners"][0] | {"port": port}]}
            put = await asyncio.to_thread(
                admin, "PUT", path, {"document": document, "expected": version - 1}
            )
            assert put["version"] == version
            async with asyncio.timeout(1.0):
                assert await machine.versions.get() == version
        await asyncio.to_thread(
            admin, "PUT", path, {"document": DOCUMENT, "expected": 1}, status=409
        )
        rolled = await asyncio.to_thread(admin, "POST", f"{path}/rollback", {"version": 1})
        assert (rolled["version"], rolled["restored_from"]) == (3, 1)
        async with asyncio.timeout(1.0):
            assert await machine.versions.get() == 3
        assert machine.documents[0] == machine.documents[2] != machine.documents[1]
        comparison = await eventually(
            lambda: admin("GET", f"{path}/comparison"), lambda seen: seen["in_sync"]
        )
    assert (comparison["desired"], comparison["reported"]) == (3, 3)
    assert [row["reported"]["state"] for row in comparison["endpoints"]] == ["listening"]
    assert [item["version"] for item in admin("GET", f"{path}/versions")["items"]] == [3, 2, 1]
    assert admin("GET", f"{path}/versions/2")["document"]["listeners"][0]["port"] == 104


async def test_a_link_that_connects_later_gets_a_long_configuration_whole(place: Place) -> None:
    admin, link, machine = place
    devices = [
        {"name": f"d{n}", "ae_title": f"D{n}", "addresses": ["10.0.0.0/8"]} for n in range(2000)
    ]
    admin("PUT", f"links/{link['id']}/configuration", {"document": DOCUMENT | {"devices": devices}})
    async with machine.connected():
        async with asyncio.timeout(KILLED_WITHIN):
            assert await machine.versions.get() == 1
        assert len(machine.documents[0]) > 65_536


async def test_a_refused_configuration_is_shown_and_alarmed_until_one_is_applied(
    place: Place,
) -> None:
    admin, link, machine = place
    path = f"links/{link['id']}/configuration"
    machine.refuses = "port 11112 is taken"
    async with machine.connected():
        await asyncio.to_thread(admin, "PUT", path, {"document": DOCUMENT})
        await machine.versions.get()
        alarms = await eventually(lambda: admin("GET", "alarms"), lambda seen: seen["items"])
        assert alarms["items"][0]["condition"] == "configuration-refused"
        assert "port 11112 is taken" in alarms["items"][0]["detail"]
        comparison = await asyncio.to_thread(admin, "GET", f"{path}/comparison")
        assert comparison["problems"] == [
            {"field": "$.listeners[0].port", "message": "port 11112 is taken"}
        ]
        assert not comparison["in_sync"]
        machine.refuses = ""
        await asyncio.to_thread(
            admin, "PUT", path, {"document": DOCUMENT | {"devices": []}, "comment": "again"}
        )
        await asyncio.to_thread(admin, "POST", f"{path}/rollback", {"version": 1})
        await asyncio.to_thread(admin, "PUT", path, {"document": {"listeners": []}})
        await eventually(lambda: admin("GET", "alarms"), lambda seen: not seen["items"])


async def test_a_store_is_answered_when_it_is_durable_and_comes_back_byte_by_byte(
    place: Place,
) -> None:
    admin, _, machine = place
    data = secrets.token_bytes(3_000_000)
    async with machine.connected() as session:
        answer = await machine.store(session, "1.2.3.4", data)
        assert isinstance(answer, Committed)
        assert (answer.length, answer.stored) == (len(data), Stored.NEW)
        again = await machine.store(session, "1.2.3.4", data)
        assert isinstance(again, Committed)
        assert again.stored is Stored.SAME
        other = await machine.store(session, "1.2.3.4", data[:-1])
        assert isinstance(other, Committed)
        assert other.stored is Stored.CONFLICT
    found = admin("GET", "instances", hidden=True)["items"]
    assert [(one["stored"], one["visible"]) for one in found] == [
        ("new", True),
        ("conflict", False),
    ]
    fetched = admin.http.get(f"/api/v1/instances/{found[0]['id']}/dataset")
    assert fetched.content == data
    file = admin.http.get(f"/api/v1/instances/{found[0]['id']}/file").content
    assert file[:132] == bytes(128) + b"DICM"
    assert file.endswith(data)
    assert "instance-conflict" in [alarm["condition"] for alarm in admin("GET", "alarms")["items"]]
    assert admin("POST", f"instances/{found[1]['id']}/choose")["visible"]


async def test_what_cannot_be_stored_is_said_and_leaves_nothing(place: Place) -> None:
    admin, _, machine = place
    async with machine.connected() as session:
        damaged = await machine.store(session, "1.2.3.4", b"abc", crc32=1)
        illegal = await machine.store(session, "../../etc/x", secrets.token_bytes(5_000_000))
        assert isinstance(damaged, NotStored)
        assert damaged.reason is NotStoredReason.TRANSFER_DAMAGED
        assert isinstance(illegal, NotStored)
        assert illegal.reason is NotStoredReason.MALFORMED
    assert admin("GET", "instances", hidden=True)["items"] == []


async def test_unknown_devices_are_listed_with_the_entry_that_lets_them_in(place: Place) -> None:
    admin, link, machine = place
    seen = UnmatchedDevice(
        listener="store",
        address="10.1.2.3",
        calling_ae="US_2",
        called_ae="SWALLOWTAIL",
        reason="calling-ae",
        count=3,
        first=1.0,
        last=2.0,
    )
    async with machine.connected() as session:
        await machine.report(session, seen)
        await machine.report(session, seen)
    (device,) = admin("GET", "unknown-devices")["items"]
    assert (device["count"], device["link"]) == (6, link["id"])
    assert device["hint"] == {
        "name": "us-2",
        "ae_title": "US_2",
        "addresses": ["10.1.2.3"],
        "listeners": ["store"],
    }
    admin(
        "POST",
        "unknown-devices/dismiss",
        {"link": link["id"], "address": "10.1.2.3", "calling_ae": "US_2"},
        status=204,
    )
    assert admin("GET", "unknown-devices")["items"] == []


async def test_ping_goes_through_the_link_and_says_when_it_is_away(place: Place) -> None:
    admin, link, machine = place
    async with machine.connected():
        answer = await asyncio.to_thread(admin, "POST", f"links/{link['id']}/ping")
        assert 0 < answer["seconds"] < 5
        session_state = (await asyncio.to_thread(admin, "GET", f"links/{link['id']}"))["session"]
        assert 0 <= session_state["round_trip"] < 5
    answer = admin("POST", f"links/{link['id']}/ping", status=503)
    assert answer["code"] == "link-offline"
    assert answer["remedy"]
