"""Refused tokens and rejected associations are in the audit of a real Cloud, a flood of them in a
few records, and no secret.
"""

import secrets
import time
from pathlib import Path
from typing import Any

from swallowtail.calls.report import AssociationEnded, UnmatchedDevice
from swallowtail.sim.installation import Installation, Listening
from swallowtail.sim.modality import Modality
from tests.programs import quiet
from tests.rest.served import Api, CloudProcess, WireLink, hospital, within

FLOOD = 300


def of_type(api: Api, start: str) -> list[dict[str, Any]]:
    return [one for one in api("GET", "audit", limit=500)["items"] if one["type"].startswith(start)]


def refused(cloud: CloudProcess, token: str, times: int = 1) -> int:
    """Ask with a token that is none.

    Return how often it was judged, and not refused unseen as one request too many (429).
    """
    http = cloud.api(token).http
    answers = [http.get("/api/v1/whoami").status_code for _ in range(times)]
    assert set(answers) <= {401, 429}
    return answers.count(401)


def number(record: dict[str, Any]) -> int:
    return int(record["detail"].partition(" times")[0])


def test_refused_tokens_are_audited_with_their_address_and_counted(tmp_path: Path) -> None:
    cloud = CloudProcess(tmp_path / "data")
    operator = cloud.facts["token"]
    admin, _ = hospital(cloud, "heronsgate")
    expires = time.time() + 2
    short = admin(
        "POST", "tokens", {"name": "short", "role": "auditor", "expires": expires}, status=201
    )
    session_ended = admin("POST", "tokens", {"name": "gone", "role": "auditor"}, status=201)
    admin("DELETE", f"tokens/{session_ended['id']}", status=204)
    within(10, lambda: time.time() > expires)
    assert (refused(cloud, short["token"]), refused(cloud, session_ended["token"], 2)) == (1, 2)
    judged = sum(refused(cloud, f"swt_{secrets.token_hex(24)}", FLOOD // 3) for _ in range(3))
    assert judged > 10
    token = admin.token
    assert cloud.stop() == 0

    cloud = CloudProcess(tmp_path / "data")
    mine, theirs = (
        of_type(cloud.api(token), "token.refused"),
        of_type(cloud.api(operator), "token.refused"),
    )
    assert {(one["type"], one["actor"], one["address"]) for one in mine} == {
        ("token.refused.expired", short["id"], "127.0.0.1"),
        ("token.refused.revoked", session_ended["id"], "127.0.0.1"),
    }
    assert {one["type"] for one in theirs} == {"token.refused.unknown"}
    assert len(theirs) <= 2  # a minute may have ended in between
    assert sum(map(number, theirs)) == judged
    assert not any(
        secret in str(mine + theirs) for secret in (short["token"], session_ended["token"])
    )
    assert cloud.stop() == 0


async def test_rejections_that_a_link_reports_are_audited_and_counted(tmp_path: Path) -> None:
    cloud = CloudProcess(tmp_path / "data")
    admin, link = hospital(cloud, "heronsgate")
    wire = WireLink(cloud.url, cloud.ca, link["code"])
    known = {
        "listener": "main",
        "address": "192.0.2.7",
        "calling_ae": "US1",
        "called_ae": "SWALLOW",
    }
    busy = AssociationEnded(
        **known,
        association=bytes(16),
        outcome="rejected",
        reason="too-many-associations",
        count=40,
    )
    stranger = UnmatchedDevice(
        **known | {"calling_ae": "NMAP" * 999},
        reason="calling-ae",
        count=7,
        first=1e9,
        last=1e9 + 5,
    )
    done = AssociationEnded(**known, association=bytes(16), outcome="released")
    async with wire.connected() as session:
        await wire.report(session, busy, busy, stranger, done)
        scan = [
            UnmatchedDevice(
                **known | {"calling_ae": f"X{n}"}, reason="calling-ae", count=1, first=1e9, last=1e9
            )
            for n in range(250)
        ]
        for _ in range(4):
            await wire.report(session, *scan)
    token = admin.token
    assert cloud.stop() == 0

    cloud = CloudProcess(tmp_path / "data")
    found = of_type(cloud.api(token), "association.rejected")
    assert len(found) <= 2 * 65
    by_actor = {one["actor"]: one for one in found}
    assert (by_actor["US1"]["address"], by_actor["US1"]["outcome"]) == ("192.0.2.7", 4)
    assert by_actor["US1"]["detail"].startswith(
        "too-many-associations, called SWALLOW; 80 times from"
    )
    assert by_actor["US1"]["objects"] == [["link", link["id"]], ["listener", "main"]]
    stranger_record = by_actor["NMAP" * 16]
    assert (stranger_record["event"], stranger_record["outcome"]) == ("110113", 8)
    assert stranger_record["detail"].endswith(
        "7 times from 2001-09-09T01:46:40Z to 2001-09-09T01:46:45Z"
    )
    assert "(others)" in by_actor
    assert cloud.stop() == 0


def test_what_a_real_link_rejects_is_in_the_organisations_audit(tmp_path: Path) -> None:
    with Installation(tmp_path / "site", listeners=[Listening("imaging")]) as site:
        for _ in range(3):
            assert (
                "rejected"
                in Modality(site.port("imaging"), site.called_ae("imaging"), calling_ae="STRANGER")
                .echo()
                .outcome
            )
        site.cloud.wait_until(
            lambda: [*site.rest.items("/api/v1/unknown-devices")],
            seconds=15,
            what="noting the stranger",
        )
        assert site.link.stop() == 0  # which hands over what it has still to report
        assert site.cloud.stop() == 0
        site.start_cloud()
        found = [
            one for one in site.rest.items("/api/v1/audit") if one["type"] == "association.rejected"
        ]
        assert {(one["actor"], one["address"]) for one in found} == {("STRANGER", "127.0.0.1")}
    for program in site.programs:
        quiet(program.output)
