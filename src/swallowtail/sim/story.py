"""The demo's story: one day of a hospital, as steps that each hold or do not.

`swallowtail demo` shows it, tests run it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from swallowtail.sim.archive import AE_TITLE, SimulatedArchive
from swallowtail.sim.cloud_client import RestFailedError
from swallowtail.sim.dicom_files import PATIENTS, Sample, data_set_of, ultrasound_study
from swallowtail.sim.installation import LINK, Installation, Listening
from swallowtail.sim.modality import Modality, ResponseReceived
from swallowtail.sim.processes import ProgramFailedError

PULL_THE_PLUG_AT: Final = 4
"""P-DATA PDUs of 16 KiB that have left when Link is killed.

The command and some 48 KiB of a cine of 190 KiB.
"""
LISTENER: Final = Listening("imaging", more={"max_pdu": 16_384})
DEVICE: Final = {
    "name": "echo-room-1",
    "ae_title": "ULTRASOUND1",
    "addresses": ["127.0.0.1"],
    "description": "invented",
}
PACS: Final = f"{LINK}:pacs"
RULE: Final = {"name": "ultrasound to the PACS", "to": [PACS], "condition": {"modalities": ["US"]}}
LATE: Final = 60.0
"""Seconds after which a delivery is late.

A destination that has failed is tried again after some seconds, then after more.
"""


class StoryFailedError(Exception):
    """Something was not as it must be; the text states what, where, and what to look at next."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one step; `detail` is the observation or the failure."""

    title: str
    held: bool
    detail: str
    seconds: float


class Audience(Protocol):
    """The observer of the story."""

    def begin(self, title: str) -> None:
        """Handle the begin of a step."""

    def end(self, result: Result) -> None:
        """Handle the end of the story."""


def must(held: object, what: str, *, look: str) -> None:
    """Raise StoryFailedError when something does not hold."""
    if not held:
        raise StoryFailedError(f"{what}; look at {look}")


class Story:
    """The story, run in `folder`; `close` ends every program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pacs = SimulatedArchive(folder)
        destination = {
            "name": "pacs",
            "host": "127.0.0.1",
            "port": self.pacs.port,
            "ae_title": AE_TITLE,
            "outstanding": 1,
        }
        self.site = Installation(
            folder, listeners=[LISTENER], devices=[DEVICE], destinations=[destination], rules=[RULE]
        )
        self.study: list[Sample] = []
        self.later: list[Sample] = []
        self.queued: list[Sample] = []
        self.steps: Sequence[tuple[str, Callable[[], str]]] = (
            ("the Cloud serves", self._serve),
            ("apply the hospital's document", self._apply),
            ("Link connects and opens its listener", self._connect),
            ("C-ECHO, modality to Cloud", self._echo),
            ("an unknown device is refused", self._stranger),
            ("store in: a real ultrasound study", self._store),
            ("find it (QIDO-RS)", self._find),
            ("fetch it, compare byte by byte", self._fetch),
            ("open it over DICOMweb", self._open),
            ("a rule sends it to the PACS", self._deliver),
            ("the PACS ends, a study arrives", self._queue),
            ("the PACS returns and gets all of it", self._return),
            ("kill Link in the middle of a store", self._kill),
            ("Link comes back, configured by itself", self._come_back),
            ("the re-send succeeds and shows once", self._send_again),
            ("reinstall: rebind, empty state", self._reinstall),
            ("the new machine stores", self._store_again),
        )

    def run(self, audience: Audience) -> bool:
        """Play every step until one does not hold; state whether all held."""
        for title, act in self.steps:
            audience.begin(title)
            started = time.monotonic()
            try:
                detail, held = act(), True
            except (StoryFailedError, ProgramFailedError, RestFailedError, OSError) as error:
                detail, held = str(error) or type(error).__name__, False
            audience.end(Result(title, held, detail, time.monotonic() - started))
            if not held:
                return False
        return True

    def close(self) -> None:
        """End every program."""
        self.site.stop()
        self.pacs.stop()

    def _modality(self, calling_ae: str = "ULTRASOUND1") -> Modality:
        return Modality(self.site.port("imaging"), self.site.called_ae("imaging"), calling_ae)

    def _serve(self) -> str:
        self.site.start_cloud()
        return self.site.url

    def _apply(self) -> str:
        outcome = self.site.apply()
        must(
            outcome["codes"],
            "apply gave no security code for the new Link",
            look=str(self.folder / "apply.log"),
        )
        again = self.site.apply()
        changed = [step for step in again["steps"] if step["verb"] != "keep"]
        must(
            not changed,
            f"the same document applied again changed {changed}",
            look=str(self.folder / "apply.log"),
        )
        return f"{len(outcome['steps'])} things made, again: nothing changed"

    def _connect(self) -> str:
        self.pacs.start()
        self.site.start_link()
        self.site.wait_until_listening()
        return f"{self.site.called_ae('imaging')} on port {self.site.port('imaging')}"

    def _echo(self) -> str:
        responses = self._modality().echo()
        must(
            responses.stored,
            f"C-ECHO was answered: {responses.outcome}",
            look=str(self.site.link.output),
        )
        return f"{responses.outcome} after {responses.seconds * 1000:.0f} ms"

    def _stranger(self) -> str:
        responses = self._modality("STRANGER").echo()
        must(
            responses.outcome == "rejected (1,1,3)",
            f"an unknown device received: {responses.outcome}",
            look=str(self.site.link.output),
        )
        self.site.link.wait_until(
            self._stranger_is_known, seconds=10, what="reporting the unknown device"
        )
        return f"{responses.outcome}, listed with the device to add"

    def _stranger_is_known(self) -> bool:
        return any(
            item["calling_ae"] == "STRANGER"
            for item in self.site.rest.items("/api/v1/unknown-devices")
        )

    def _store(self) -> str:
        self.study = ultrasound_study(self.folder / "files", PATIENTS[0])
        return self._send(self.study)

    def _send(self, samples: Sequence[Sample]) -> str:
        responses = self._modality().send([sample.path for sample in samples])
        refused = [one.outcome for one in responses if not one.stored]
        must(
            not refused,
            f"{len(refused)} of {len(samples)} instances were answered {refused}",
            look=str(self.site.link.output),
        )
        size = sum(sample.path.stat().st_size for sample in samples)
        return f"{len(samples)} instances, {size / 1e6:.1f} MB, each 0000 when durable"

    def _find(self) -> str:
        seconds = self.site.wait_for_instances(len(self.study), self.study[0].study)
        answer = self.site.rest.json(f"/dicomweb/studies?PatientID={PATIENTS[0].number}")
        found = [study["00100010"]["Value"][0]["Alphabetic"] for study in answer]
        must(
            found == [PATIENTS[0].name],
            f"QIDO by patient id found {found}",
            look=str(self.site.cloud.output),
        )
        return (
            f"{PATIENTS[0].name}, {len(self.study)} instances, {seconds:.1f} s after the last"
            " answer"
        )

    def _fetch(self) -> str:
        size = sum(self._compare(sample) for sample in self.study)
        return f"{len(self.study)} data sets, {size:,} bytes, all equal"

    def _compare(self, sample: Sample) -> int:
        """Fetch one instance both ways and give its size.

        Both must be what the modality's file holds.
        """
        items = list(self.site.rest.items(f"/api/v1/instances?sop_instance={sample.sop_instance}"))
        must(
            len(items) == 1,
            f"{sample.title} shows {len(items)} times",
            look=str(self.site.cloud.output),
        )
        sent = sample.data_set()
        for way in ("dataset", "file"):
            got = self.site.rest.fetch(f"/api/v1/instances/{items[0]['id']}/{way}")
            got = data_set_of(got) if way == "file" else got
            must(
                got == sent,
                f"{sample.title} came back different ({way})",
                look=f"{sample.path} and {self.folder}/cloud",
            )
        return len(sent)

    def _open(self) -> str:
        """Read it as a viewer does: series, metadata, and the last frame of the cine by itself."""
        cine = self.study[0]
        home, log = f"/dicomweb/studies/{cine.study}", str(self.site.cloud.output)
        series = [one["0020000E"]["Value"][0] for one in self.site.rest.json(f"{home}/series")]
        must(series == [cine.series], f"the study shows {len(series)} series", look=log)
        metadata = {
            one["00080018"]["Value"][0]: one for one in self.site.rest.json(f"{home}/metadata")
        }
        must(
            set(metadata) == {sample.sop_instance for sample in self.study},
            f"metadata of {len(metadata)} instances",
            look=log,
        )
        count = metadata[cine.sop_instance]["00280008"]["Value"][0]
        frame = self.site.rest.fetch(
            f"{home}/series/{cine.series}/instances/{cine.sop_instance}/frames/{count}"
            "?accept=image/jpeg%3Btransfer-syntax%3D*"
        )
        must(frame == cine.frame(count), f"frame {count} came back different", look=log)
        return (
            f"{len(series)} series, {len(metadata)} instances, frame {count} of the cine:"
            f" {len(frame):,} bytes, equal"
        )

    def _deliver(self) -> str:
        return self._until_the_pacs_has(self.study)

    def _until_the_pacs_has(self, samples: Sequence[Sample]) -> str:
        """Wait for the PACS to have all of it.

        Each once, in the order of its arrival, and what the modality's files hold.
        """
        started, expected = time.monotonic(), [sample.sop_instance for sample in samples]
        log = str(self.site.cloud.output)
        self.site.cloud.wait_until(
            lambda: {uid for uid, _ in self.pacs.instances()} >= set(expected),
            seconds=LATE,
            what="delivery to the PACS",
        )
        self.site.cloud.wait_until(lambda: not self._waiting(), seconds=LATE, what="an empty queue")
        ours = [(uid, data) for uid, data in self.pacs.instances() if uid in expected]
        must(
            [uid for uid, _ in ours] == expected,
            f"the PACS got {len(ours)} of {len(expected)}, or in another order",
            look=log,
        )
        for (_, data), sample in zip(ours, samples, strict=True):
            must(
                data == sample.data_set(),
                f"the PACS got other bytes of {sample.title}",
                look=str(self.pacs.received),
            )
        return (
            f"{len(ours)} instances, each once and in order, all bytes equal, after"
            f" {time.monotonic() - started:.1f} s"
        )

    def _waiting(self) -> int:
        return sum(
            one["state"] != "delivered" for one in self.site.rest.items("/api/v1/deliveries")
        )

    def _queue(self) -> str:
        self.pacs.kill()
        self.queued = ultrasound_study(self.folder / "queued", PATIENTS[1])
        sent = self._send(self.queued)
        self.site.wait_for_instances(len(self.queued), self.queued[0].study)
        self.site.cloud.wait_until(
            lambda: self._pacs_queue()["detail"] and self._waiting() == len(self.queued),
            seconds=LATE,
            what="finding that the PACS is down",
        )
        return f"{sent}; the queue states: {self._pacs_queue()['detail']}"

    def _pacs_queue(self) -> dict[str, Any]:
        (one,) = self.site.rest.items("/api/v1/destinations")
        queue: dict[str, Any] = one["queue"]
        return queue

    def _return(self) -> str:
        self.pacs.start()
        return self._until_the_pacs_has(self.queued)

    def _kill(self) -> str:
        self.later = ultrasound_study(self.folder / "later", PATIENTS[1])
        responses = self._modality().send([self.later[0].path], during=self._pull_the_plug)[0]
        must(
            not self.site.link.running,
            "Link was to be killed and still runs",
            look=str(self.site.link.output),
        )
        must(
            not responses.stored,
            f"the modality received {responses.outcome} for what nobody has",
            look=str(self.site.cloud.output),
        )
        shown = list(
            self.site.rest.items(f"/api/v1/instances?sop_instance={self.later[0].sop_instance}")
        )
        must(not shown, "half an instance shows", look=str(self.site.cloud.output))
        return f"the modality received: {responses.outcome}; nothing shows"

    def _pull_the_plug(self, sent: int) -> None:
        if sent == PULL_THE_PLUG_AT:
            self.site.link.kill()

    def _come_back(self) -> str:
        started = time.monotonic()
        self.site.start_link()
        self.site.wait_until_listening()
        return f"listening {time.monotonic() - started:.1f} s after its start, nothing applied"

    def _send_again(self) -> str:
        reported: list[ResponseReceived] = self._modality().send([self.later[0].path] * 2)
        must(
            all(one.stored for one in reported),
            f"the re-send received {[one.outcome for one in reported]}",
            look=str(self.site.link.output),
        )
        self.site.wait_for_instances(1, self.later[0].study)
        self._compare(self.later[0])
        return "sent twice, 0000 twice, shows once"

    def _reinstall(self) -> str:
        before = self._running_version()
        self.site.link.stop()
        self.site.reinstall()
        self.site.start_link()
        self.site.wait_until_listening()
        must(
            self._running_version() == before,
            "the new machine runs another configuration",
            look=str(self.site.link.output),
        )
        return f"new device key, configuration {before} as before"

    def _running_version(self) -> int:
        comparison = self.site.rest.json(
            f"/api/v1/links/{self.site.link_id}/configuration/comparison"
        )
        return int(comparison["reported"])

    def _store_again(self) -> str:
        detail = self._send(self.later)
        self.site.wait_for_instances(len(self.later), self.later[0].study)
        return detail
