"""What people do with store out over the API, with real processes.

Try a destination, try the rules, send, set aside, give up.
"""

import socket
from pathlib import Path
from typing import Any

import pytest

from swallowtail.sim.dicom_files import ultrasound_study
from swallowtail.sim.installation import Installation
from swallowtail.sim.processes import free_port
from tests.interop.chain import Chain, storescp

STEPS = ["resolve", "policy", "connect", "associate", "echo"]


@pytest.fixture
def chain(site: Installation, request: pytest.FixtureRequest) -> Chain:
    """A modality with an AE title of its own, so that each test's rules see its instances alone."""
    return Chain(site, f"H{abs(hash(request.node.name)) % 10**9}")


def checked(chain: Chain, destination: str) -> tuple[list[str], dict[str, Any]]:
    """Have the Link try a destination; gives the names of the steps and the last one."""
    found = chain.act(f"destinations/{destination}/check")
    steps = found["steps"]
    assert all(step["ok"] for step in steps[:-1])
    assert found["ok"] == steps[-1]["ok"]
    assert all(0 <= step["seconds"] < 10 for step in steps)
    return [step["name"] for step in steps], steps[-1]


def test_a_check_names_and_times_its_steps_and_says_what_to_do_next(
    chain: Chain, tmp_path: Path
) -> None:
    with storescp(tmp_path) as (_, port, _):
        names, last = checked(chain, chain.destination("check-good", port))
        assert (names, last["ok"]) == (STEPS, True)
    names, last = checked(chain, chain.destination("check-nobody", free_port()))
    assert (names, last["ok"]) == (STEPS[:3], False)
    assert "check host and port, and whether it runs" in last["detail"]
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings = {"timeouts": {"associate": 0.5}}
        names, last = checked(
            chain, chain.destination("check-mute", mute.getsockname()[1], **settings)
        )
    assert (names, last["ok"]) == (STEPS[:4], False)
    assert last["seconds"] >= 0.4
    names, last = checked(chain, chain.destination("check-name", 104, host="no-such-host.invalid"))
    assert (names, last["ok"]) == (STEPS[:1], False)
    names, last = checked(chain, chain.destination("check-policy", 104, host="192.0.2.1"))
    assert (names, last["ok"]) == (STEPS[:2], False)
    assert "policy" in last["detail"]


def test_a_stored_study_is_tried_on_the_rules_and_sent_by_hand(
    chain: Chain, tmp_path: Path
) -> None:
    samples = ultrasound_study(tmp_path)
    study = samples[0].study
    chain.acquire(*(sample.path for sample in samples))
    chain.until(lambda: len([*chain.site.rest.items(f"/api/v1/studies/{study}/series")]) > 0)
    chain.until(
        lambda: (
            len([one for one in chain.site.instances(study) if one["state"] == "indexed"])
            == len(samples)
        )
    )
    with storescp(tmp_path, "+xa") as (_, port, received):
        pacs = chain.destination("by-hand", port)
        rule = chain.rule(pacs)
        page = chain.act("rules/dry-run", study=study)
        assert len(page["items"]) == len(samples)
        for one in page["items"]:
            (verdict,) = [verdict for verdict in one["verdicts"] if verdict["rule"] == rule]
            assert (verdict["acts"], verdict["reason"]) == (True, "")
            assert pacs in [planned["destination"] for planned in one["deliveries"]]
        assert chain.deliveries(pacs) == [], (
            "a dry run queues nothing, and a new rule sends no history"
        )
        some = [samples[0].sop_instance]
        assert (
            chain.act(f"studies/{study}/send", destinations=[pacs], sop_instances=some)["queued"]
            == 1
        )
        chain.until_delivered(pacs, 1)
        sent = chain.act(f"studies/{study}/send", destinations=[pacs], request="all-of-it")
        assert sent["queued"] == len(samples)
        assert (
            chain.act(f"studies/{study}/send", destinations=[pacs], request="all-of-it")["queued"]
            == 0
        )
        chain.until_delivered(pacs, len(samples) + 1)
        assert len(list(received.iterdir())) >= len(samples)


def test_a_paused_queue_is_parked_skipped_resent_and_resumed(chain: Chain, tmp_path: Path) -> None:
    samples = ultrasound_study(tmp_path)
    with storescp(tmp_path, "+xa") as (_, port, _):
        pacs = chain.destination("handled", port)
        chain.act(f"destinations/{pacs}/pause")
        chain.rule(pacs)
        chain.acquire(*(sample.path for sample in samples))
        chain.until(lambda: chain.states(pacs) == {"pending": len(samples)})
        first, second, *_ = chain.deliveries(pacs)
        assert (
            chain.act(f"deliveries/{first['id']}/park", reason="look at it first")["state"]
            == "parked"
        )
        assert (
            chain.act(f"deliveries/{second['id']}/skip", reason="not wanted there")["state"]
            == "skipped"
        )
        chain.act(f"destinations/{pacs}/resume")
        chain.until(
            lambda: chain.states(pacs) == {"delivered": len(samples) - 2, "parked": 1, "skipped": 1}
        )
        assert chain.act(f"deliveries/{first['id']}/retry")["state"] == "pending"
        assert chain.act(
            "deliveries/bulk-actions", action="resend", destination=pacs, states=["skipped"]
        ) == {"changed": 1}
        chain.until_delivered(pacs, len(samples))
