"""The whole way with real processes.

Dcmsend, Link, Cloud, a rule, Link, and receivers that we did not write.
"""

import json
import socket
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from bench.peers import Orthanc
from swallowtail.sim.dicom_files import data_set_of, ultrasound_study
from swallowtail.sim.installation import ANY_DEVICE, Installation, Listening
from swallowtail.sim.modality import Modality
from swallowtail.sim.processes import free_port
from tests.interop.chain import Archive, Chain, small, storescp

DEPTH = 2
"""Deliveries under way on one connection, which a kill may repeat (dispatch.connection)."""


@pytest.fixture
def chain(site: Installation, request: pytest.FixtureRequest) -> Chain:
    """A modality with an AE title of its own, so that each test's rules see its instances alone."""
    return Chain(site, f"M{abs(hash(request.node.name)) % 10**9}")


@pytest.mark.parametrize("sender", ["dcmsend", "pynetdicom"])
def test_storescp_has_every_byte(chain: Chain, tmp_path: Path, sender: str) -> None:
    samples = ultrasound_study(tmp_path)
    with storescp(tmp_path, "+xa") as (_, port, received):
        pacs = chain.destination(f"bytes-{sender}", port)
        chain.rule(pacs)
        if sender == "dcmsend":
            chain.acquire(*(sample.path for sample in samples))
        else:
            responses = Modality(chain.site.port("imaging"), "SWALLOWTAIL", chain.calling_ae).send(
                [sample.path for sample in samples]
            )
            assert all(one.stored for one in responses)
        chain.until_delivered(pacs, len(samples))
        found = sorted(data_set_of(path.read_bytes()) for path in received.iterdir())
    assert found == sorted(chain.stored(*samples).values())
    assert sender == "dcmsend" or found == sorted(sample.data_set() for sample in samples)
    sent = {one["payload"]["sop_instance"]: one for one in chain.deliveries(pacs)}
    for sample in samples:
        one = sent[sample.sop_instance]
        assert (one["sent_format"], one["tries"], one["payload"]["study"]) == (
            sample.transfer_syntax,
            1,
            sample.study,
        )


def test_the_order_of_arrival_is_the_order_of_delivery(chain: Chain, tmp_path: Path) -> None:
    samples = small(tmp_path, 40)
    with Archive(samples[0].sop_class).serving() as archive:
        pacs = chain.destination("order", archive.port, outstanding=1)
        chain.rule(pacs)
        for half in (samples[:20], samples[20:]):
            chain.acquire(*(sample.path for sample in half))
        chain.until_delivered(pacs, len(samples))
        arrived = [one["sop_instance"] for one in chain.site.instances(samples[0].study)]
    assert archive.uids == arrived
    assert dict(archive.received) == chain.stored(*samples)


def test_orthanc_has_every_instance(chain: Chain, tmp_path: Path) -> None:
    samples = ultrasound_study(tmp_path)
    orthanc = Orthanc(tmp_path / "orthanc", name="orthanc")
    try:
        pacs = chain.destination("orthanc", orthanc.port, "ORTHANC")
        chain.rule(pacs)
        chain.acquire(*(sample.path for sample in samples))
        chain.until_delivered(pacs, len(samples))
        assert orthanc.count() == len(samples)
        for sample in samples:
            theirs = dcmread(BytesIO(_orthanc_file(orthanc, sample.sop_instance)))
            assert theirs.get("PixelData") == dcmread(sample.path).get("PixelData")
    finally:
        orthanc.program.stop()


def _orthanc_file(orthanc: Orthanc, uid: str) -> bytes:
    def fetch(path: str, data: bytes | None = None) -> bytes:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{orthanc.http}{path}", data, timeout=30
        ) as answer:
            return answer.read()

    (found,) = [
        one for one in json.loads(fetch("/tools/lookup", uid.encode())) if one["Type"] == "Instance"
    ]
    return fetch(f"/instances/{found['ID']}/file")


def test_a_pacs_that_dies_and_returns_gets_all_of_it(chain: Chain, tmp_path: Path) -> None:
    samples = small(tmp_path, 8)
    with storescp(tmp_path) as (program, port, received):
        pacs = chain.destination("mortal", port)
        chain.rule(pacs)
        chain.acquire(samples[0].path)
        chain.until_delivered(pacs, 1)
        program.kill()
        chain.acquire(*(sample.path for sample in samples[1:]))
        chain.until(lambda: chain.queue(pacs)["breaker"] != "closed")
    queue = chain.queue(pacs)
    assert (
        queue["counts"].get("delivered"),
        "refused the connection" in queue["detail"],
    ) == (1, True)
    chain.until(lambda: [one["subject"] for one in _failing(chain, "mortal")])
    with storescp(tmp_path, port=port):
        chain.act(f"destinations/{pacs}/resume")
        chain.until_delivered(pacs, len(samples))
        found = sorted(data_set_of(path.read_bytes()) for path in received.iterdir())
    assert found == sorted(chain.stored(*samples).values())
    chain.until(lambda: not _failing(chain, "mortal"))


def _alarms_of(chain: Chain, condition: str, name: str) -> list[dict[str, Any]]:
    return [one for one in chain.alarms(condition) if one["subject"].endswith(f"/{name}")]


def _failing(chain: Chain, name: str) -> list[dict[str, Any]]:
    return _alarms_of(chain, "destination-failing", name)


def test_a_refused_syntax_ends_with_that_reason_and_the_others_arrive(
    chain: Chain, tmp_path: Path
) -> None:
    cine, still = ultrasound_study(tmp_path)[:2]
    with Archive(cine.sop_class, still.sop_class).serving() as archive:
        pacs = chain.destination("picky", archive.port, transcoding="never")
        chain.rule(pacs)
        chain.acquire(cine.path, still.path)
        chain.until(lambda: chain.states(pacs) == {"dead-letter": 1, "delivered": 1})
    (dead,) = [one for one in chain.deliveries(pacs) if one["state"] == "dead-letter"]
    assert (dead["payload"]["sop_instance"], dead["phase"], dead["about"]) == (
        cine.sop_instance,
        "context",
        "payload",
    )
    assert "JPEG Baseline" in dead["detail"]
    assert dead["tries"] == 1, "what cannot succeed is not tried again"
    assert archive.uids == [still.sop_instance]
    (alarm,) = _alarms_of(chain, "dead-letter", "picky")
    assert dead["detail"] in alarm["detail"]
    chain.act(f"deliveries/{dead['id']}/skip", reason="only a test")
    assert _alarms_of(chain, "dead-letter", "picky") == []


def test_a_lane_that_stops_is_alarmed_and_a_resend_keeps_its_place(
    chain: Chain, tmp_path: Path
) -> None:
    cine, *stills = [*ultrasound_study(tmp_path)[:1], *small(tmp_path, 2)]
    archive = Archive(stills[0].sop_class)
    with archive.serving():
        pacs = chain.destination("stops", archive.port, at_cap="stop", transcoding="never")
        chain.rule(pacs)
        chain.acquire(cine.path)
        chain.until(lambda: chain.states(pacs) == {"stopped": 1})
        (alarm,) = _alarms_of(chain, "lane-stopped", "stops")
        chain.acquire(*(one.path for one in stills))
        chain.until(lambda: chain.states(pacs) == {"stopped": 1, "pending": 2})
    archive.accept(cine.sop_class, cine.transfer_syntax)
    with archive.serving():
        (stopped,) = [one for one in chain.deliveries(pacs) if one["state"] == "stopped"]
        assert stopped["detail"] in alarm["detail"]
        chain.act(f"deliveries/{stopped['id']}/resend")
        chain.until_delivered(pacs, 3)
        assert _alarms_of(chain, "lane-stopped", "stops") == []
    assert archive.uids == [one.sop_instance for one in (cine, *stills)]
    numbers = [
        one["number"]
        for one in chain.site.rest.items(f"/api/v1/deliveries/{stopped['id']}/attempts")
    ]
    assert numbers == [2, 1], "the tries go on over a resend"


@pytest.mark.parametrize("transcoding", ["lossless", "never"])
def test_storescp_that_refuses_jpeg_gets_it_decoded_where_that_is_allowed(
    chain: Chain, tmp_path: Path, transcoding: str
) -> None:
    cine, still = ultrasound_study(tmp_path)[:2]
    assert cine.transfer_syntax == "1.2.840.10008.1.2.4.50"
    with storescp(tmp_path, "+x=") as (_, port, received):
        pacs = chain.destination(f"plain-{transcoding}", port, attempts=1, transcoding=transcoding)
        chain.rule(pacs)
        chain.acquire(cine.path, still.path)
        if transcoding == "never":
            chain.until(lambda: chain.states(pacs) == {"dead-letter": 1, "delivered": 1})
            (dead,) = [one for one in chain.deliveries(pacs) if one["state"] == "dead-letter"]
            assert (
                dead["payload"]["sop_instance"],
                dead["phase"],
                "JPEG Baseline" in dead["detail"],
            ) == (
                cine.sop_instance,
                "context",
                True,
            )
            return
        chain.until_delivered(pacs, 2)
        sent = {
            one["payload"]["sop_instance"]: one["sent_format"] for one in chain.deliveries(pacs)
        }
        (theirs,) = [
            one
            for one in map(dcmread, received.iterdir())
            if one.SOPInstanceUID == cine.sop_instance
        ]
    assert sent[cine.sop_instance] in {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"}
    assert theirs.PhotometricInterpretation == "RGB"
    assert (theirs.pixel_array == dcmread(cine.path).pixel_array).all()


def test_a_pacs_that_refuses_all_is_tried_for_ever(chain: Chain, tmp_path: Path) -> None:
    with storescp(tmp_path, "--refuse") as (_, port, received):
        pacs = chain.destination("refuses", port)
        chain.rule(pacs)
        chain.acquire(small(tmp_path, 1)[0].path)
        chain.until(lambda: chain.queue(pacs)["breaker"] == "open")
        (one,) = chain.deliveries(pacs)
        assert (one["state"], one["phase"], one["about"], one["refusals"]) == (
            "pending",
            "associate",
            "destination",
            0,
        )
        assert [*received.iterdir()] == []
    chain.until(lambda: _failing(chain, "refuses"))
    assert (
        chain.act("deliveries/bulk-actions", action="skip", destination=pacs, reason="only a test")[
            "changed"
        ]
        == 1
    )


def test_a_destination_that_the_hospitals_policy_forbids_says_so(
    chain: Chain, tmp_path: Path
) -> None:
    pacs = chain.destination("forbidden", 11112, host="192.0.2.7")
    chain.rule(pacs)
    chain.acquire(small(tmp_path, 1)[0].path)
    chain.until(lambda: chain.queue(pacs)["breaker"] == "open")
    (one,) = chain.deliveries(pacs)
    assert (one["state"], one["phase"]) == ("pending", "policy")
    assert "policy" in one["detail"]
    (alarm,) = _failing(chain, "forbidden")
    assert one["detail"] in alarm["detail"]


def test_what_waits_for_a_destination_that_is_removed_ends_visibly(
    chain: Chain, tmp_path: Path
) -> None:
    pacs = chain.destination("removed", free_port())
    rule = chain.rule(pacs)
    chain.acquire(small(tmp_path, 1)[0].path)
    chain.until(lambda: chain.states(pacs) == {"pending": 1} and chain.queue(pacs)["failures"])
    for path in (f"rules/{rule}", f"destinations/{pacs}"):
        chain.site.rest.json(f"/api/v1/{path}", method="DELETE")
    chain.until(lambda: chain.states(pacs) == {"dead-letter": 1})
    (one,) = chain.deliveries(pacs)
    assert "no longer in the configuration" in one["detail"]


def test_a_destination_that_takes_nothing_stalls_only_itself(chain: Chain, tmp_path: Path) -> None:
    samples = small(tmp_path, 10)
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        Archive(samples[0].sop_class).serving() as archive,
    ):
        stuck = chain.destination("deaf", deaf.getsockname()[1], timeouts={"associate": 30.0})
        well = chain.destination("well", archive.port)
        chain.rule(stuck, well)
        chain.acquire(*(sample.path for sample in samples))
        chain.until_delivered(well, len(samples), seconds=20.0)
        assert chain.states(stuck)["delivered"] == 0
        chain.act(f"destinations/{stuck}/pause")
    chain.until(lambda: chain.states(stuck) == {"pending": len(samples)})


def test_an_instance_that_makes_the_pacs_abort_is_set_aside(chain: Chain, tmp_path: Path) -> None:
    samples = small(tmp_path, 3)
    with Archive(samples[0].sop_class).serving() as archive:
        poison = samples[1].sop_instance

        def abort(event: Any, _: int) -> int:
            if event.request.AffectedSOPInstanceUID == poison:
                event.assoc.abort()
            return 0xC000 if event.request.AffectedSOPInstanceUID == poison else 0

        archive.on_store = abort
        pacs = chain.destination("allergic", archive.port, attempts=1)
        chain.rule(pacs)
        chain.acquire(*(sample.path for sample in samples))
        chain.until(lambda: chain.states(pacs) == {"dead-letter": 1, "delivered": 2})
        (dead,) = [one for one in chain.deliveries(pacs) if one["state"] == "dead-letter"]
        assert (dead["payload"]["sop_instance"], dead["about"], dead["tries"]) == (
            poison,
            "payload",
            2,
        )
        assert "in a row" in dead["detail"]
        archive.on_store = lambda event, number: 0
        chain.act(f"deliveries/{dead['id']}/resend")
        chain.until_delivered(pacs, 3)


def test_a_rule_waits_until_the_study_is_complete(chain: Chain, tmp_path: Path) -> None:
    samples = small(tmp_path, 4)
    with Archive(samples[0].sop_class).serving() as archive:
        pacs = chain.destination("patient", archive.port)
        chain.rule(pacs, when_complete=True, quiet=2.0)
        chain.acquire(*(sample.path for sample in samples))
        chain.site.wait_for_instances(len(samples), samples[0].study)
        chain.until_delivered(pacs, len(samples), seconds=30.0)
    last = max(one["received"] for one in chain.site.instances(samples[0].study))
    first = min(one["created"] for one in chain.deliveries(pacs))
    assert first - last >= 2.0, "nothing is queued before the study was quiet"
    explained = chain.act("rules/dry-run", study=samples[0].study)["items"]
    assert [[one["destination"] for one in each["deliveries"]] for each in explained] == [
        [pacs] for _ in samples
    ]


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """A site of its own, to be killed."""
    with Installation(
        tmp_path / "site", listeners=(Listening("imaging", more=ANY_DEVICE),)
    ) as installation:
        yield installation


class Gate:
    """Holds an archive at chosen instances until it is opened."""

    def __init__(self, *at: int) -> None:
        self._at, self.reached, self._open = set(at), threading.Event(), threading.Event()

    def __call__(self, _: Any, number: int) -> int:
        if number in self._at:
            self._at.discard(number)
            self.reached.set()
            assert self._open.wait(120)
            self._open.clear()
        return 0

    def open(self) -> None:
        self.reached.clear()
        self._open.set()


def test_nothing_is_lost_and_little_doubled_when_link_and_cloud_are_killed(
    own: Installation, tmp_path: Path
) -> None:
    chain, samples = Chain(own, "KILLED"), small(tmp_path, 60)
    archives = {connections: Archive(samples[0].sop_class) for connections in (1, 3)}
    gates = [Gate(10, 30), Gate(10, 30)]
    with archives[1].serving(), archives[3].serving():
        for archive, gate in zip(archives.values(), gates, strict=True):
            archive.on_store = gate
        pacs = {
            count: chain.destination(f"pacs-{count}", one.port, connections=count)
            for count, one in archives.items()
        }
        chain.rule(*pacs.values())
        chain.acquire(*(sample.path for sample in samples))
        _when_reached(gates, own.link.kill)
        own.start_link()
        _when_reached(gates, own.cloud.kill)
        own.start_cloud()
        for one in pacs.values():
            chain.until_delivered(one, len(samples), seconds=120.0)
        arrived = [one["sop_instance"] for one in own.instances(samples[0].study)]
    for connections, archive in archives.items():
        counts = Counter(archive.uids)
        assert dict(archive.received) == chain.stored(*samples)
        assert sum(counts.values()) - len(counts) <= 2 * DEPTH * connections
    assert [*dict.fromkeys(archives[1].uids)] == arrived  # each for the first time in order


def _when_reached(gates: list[Gate], kill: Callable[[], None]) -> None:
    """Kill something while an instance is on its way to every archive."""
    for gate in gates:
        assert gate.reached.wait(90)
    kill()
    for gate in gates:
        gate.open()


def test_a_destination_that_nobody_can_reach_waits_without_a_link(
    own: Installation, tmp_path: Path
) -> None:
    """What is queued while the Link is away is delivered when it is back, and a rule's port may be
    free meanwhile.
    """
    chain, samples = Chain(own, "AWAY"), small(tmp_path, 3)
    port = free_port()
    pacs = chain.destination("pacs", port)
    chain.rule(pacs)
    chain.acquire(*(sample.path for sample in samples))
    chain.until(lambda: chain.queue(pacs)["failures"] > 0)
    own.link.kill()
    own.start_link()
    archive = Archive(samples[0].sop_class)
    archive.port = port
    with archive.serving():
        chain.act(f"destinations/{pacs}/resume")
        chain.until_delivered(pacs, len(samples))
    assert archive.uids == [one["sop_instance"] for one in own.instances(samples[0].study)]


def test_link_that_stops_releases_its_idle_associations(own: Installation, tmp_path: Path) -> None:
    chain, (sample,) = Chain(own, "IDLE"), small(tmp_path, 1)
    with Archive(sample.sop_class).serving() as archive:
        pacs = chain.destination("idle", archive.port)
        chain.rule(pacs)
        chain.acquire(sample.path)
        chain.until_delivered(pacs, 1)
        assert archive.ends == []
        assert own.link.stop() == 0
        assert archive.ended.wait(5)
        assert archive.ends == ["EVT_RELEASED"]
