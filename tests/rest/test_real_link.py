"""A real Link under a real Cloud.

What ends its session ends it at once, whose code it is, and configurations forth and back.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swallowtail.sim.installation import ANY_DEVICE, Installation, Listening
from swallowtail.sim.modality import Modality
from swallowtail.sim.processes import Program, accepts, free_port
from tests.programs import quiet, sound

KILLED_WITHIN = 5.0
# what a modality hears as soon as Link has no session (docs/conformance/responses.md)
CLOUD_AWAY = "rejected (2,3,1)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port()}
    listeners = [Listening("imaging", more=ANY_DEVICE)]
    with Installation(
        tmp_path_factory.mktemp("site"), listeners=listeners, destinations=[pacs]
    ) as site:
        yield site
    for program in site.programs:
        quiet(program.output)


@pytest.fixture(autouse=True)
def _sound(site: Installation) -> Iterator[None]:
    yield
    sound(site.programs)


def within(seconds: float, program: Program, holds: Callable[[], bool], what: str) -> float:
    """Wait until it holds; gives the seconds."""
    began = time.monotonic()
    program.wait_until(holds, seconds=seconds, what=what)
    return time.monotonic() - began


def echo(site: Installation) -> str:
    return Modality(site.port("imaging"), site.called_ae("imaging")).echo().outcome


def session_state(site: Installation) -> Any:
    return site.rest.json(f"/api/v1/links/{site.link_id}")["session"]


def audited(site: Installation) -> list[str]:
    return [record["type"] for record in site.rest.items("/api/v1/audit")]


def restart_link(site: Installation) -> None:
    assert site.link.stop() == 0
    site.start_link()
    site.wait_until_listening()


def test_configurations_forth_and_back_open_and_close_the_ports(site: Installation) -> None:
    path = f"/api/v1/links/{site.link_id}/configuration"
    first = site.rest.json(path)
    old, new = site.port("imaging"), free_port()
    changed = {
        **first["document"],
        "listeners": [{**first["document"]["listeners"][0], "port": new, "ae_title": "SECOND"}],
    }
    put = site.rest.json(
        path, method="PUT", body={"document": changed, "expected": first["version"]}
    )
    within(
        KILLED_WITHIN,
        site.link,
        lambda: accepts(new) and not accepts(old) and site.in_sync(),
        "the change of ports",
    )
    assert Modality(new, "SECOND").echo().outcome == "0000"
    assert Modality(new, "SWALLOWTAIL").echo().outcome == "rejected (1,1,7)"

    back = site.rest.json(
        f"{path}/rollback",
        method="POST",
        body={"version": first["version"], "comment": "the PACS moved back"},
    )
    within(
        KILLED_WITHIN,
        site.link,
        lambda: accepts(old) and not accepts(new) and site.in_sync(),
        "the change back",
    )
    assert echo(site) == "0000"
    assert (put["version"], back["version"], back["restored_from"]) == (
        first["version"] + 1,
        first["version"] + 2,
        first["version"],
    )
    comparison = site.rest.json(f"{path}/comparison")
    assert (comparison["desired"], comparison["reported"], comparison["in_sync"]) == (
        back["version"],
        back["version"],
        True,
    )
    endpoints = [
        (one["kind"], one["name"], one["reported"]["state"]) for one in comparison["endpoints"]
    ]
    assert endpoints == [("listener", "imaging", "listening"), ("destination", "pacs", "unused")]
    history = [
        (one["version"], one["restored_from"], one["comment"])
        for one in site.rest.items(f"{path}/versions")
    ]
    assert history[:2] == [
        (back["version"], first["version"], "the PACS moved back"),
        (put["version"], None, ""),
    ]
    assert site.rest.json(f"{path}/versions/{back['version']}")["document"] == first["document"]
    assert audited(site)[:2] == ["configuration.rollback", "configuration.put"]


def test_the_code_on_another_machine_opens_nothing_and_is_alarmed(
    site: Installation, tmp_path: Path
) -> None:
    before = session_state(site)
    with site.run_link("clone", tmp_path / "clone") as clone:
        within(KILLED_WITHIN * 4, clone, lambda: "refused (key)" in clone.text(), "its refusal")
        assert "choose rebind" in clone.text()
        assert "Link listens" not in clone.text()
        (alarm,) = [
            one for one in site.rest.items("/api/v1/alarms") if one["condition"] == "link-key"
        ]
        assert (alarm["subject"], alarm["severity"]) == (site.link_id, "critical")
        assert (
            "127.0.0.1 presented the code of Link ward with another device key" in alarm["detail"]
        )
        assert audited(site)[0] == "link.refused.key"
        quiet(clone.output)
    assert session_state(site)["online"]
    assert session_state(site)["since"] == before["since"]
    assert echo(site) == "0000"


@pytest.mark.parametrize(
    ("act", "reported"), [("rotate", "rotated"), ("rebind", "rebound"), ("revoke", "revoked")]
)
def test_what_ends_a_code_ends_the_session_of_a_real_link_at_once(
    site: Installation, act: str, reported: str
) -> None:
    assert echo(site) == "0000"
    began = time.monotonic()
    if act == "revoke":
        site.rest.json(f"/api/v1/links/{site.link_id}/revoke", method="POST")
    else:
        site.new_code(act)
    within(
        KILLED_WITHIN,
        site.link,
        lambda: session_state(site)["online"] is False,
        "the end of its session in the Cloud",
    )
    within(
        KILLED_WITHIN, site.link, lambda: echo(site) == CLOUD_AWAY, "the end of its session at Link"
    )
    assert time.monotonic() - began < KILLED_WITHIN
    within(
        KILLED_WITHIN,
        site.link,
        lambda: "refused (code)" in site.link.text(),
        "the refusal of the old code",
    )
    assert f"link.{act}" in audited(site)[:3]
    assert reported in site.link.text()
    if act == "revoke":
        site.new_code(
            "rotate"
        )  # a revoked code is followed by a new one; the machine's key still holds
    restart_link(site)
    assert echo(site) == "0000"


def test_a_cloud_that_stops_tells_its_link_which_comes_back_by_itself(site: Installation) -> None:
    assert echo(site) == "0000"
    began = time.monotonic()
    assert site.cloud.stop(seconds=2 * KILLED_WITHIN) == 0
    assert (
        time.monotonic() - began < KILLED_WITHIN
    )  # nothing runs on the session, so nothing is waited for
    quiet(site.cloud.output)
    within(KILLED_WITHIN, site.link, lambda: "draining" in site.link.text(), "hearing the goodbye")
    assert echo(site) == CLOUD_AWAY
    site.start_cloud()
    within(4 * KILLED_WITHIN, site.link, lambda: echo(site) == "0000", "the next session")
