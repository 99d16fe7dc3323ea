"""The whole of store out.

A Cloud and a Link as processes, set up through the API, and systems to deliver to.
"""

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from swallowtail.sim.dicom_files import Sample, fresh_uid, ultrasound_study
from swallowtail.sim.installation import Installation
from swallowtail.sim.processes import Program, free_port

LOST = 60.0
"""Seconds after which something that should happen has not."""


class Chain:
    """What a test sets up at a site, and how it goes."""

    def __init__(self, site: Installation, calling_ae: str) -> None:
        self.site, self.calling_ae = site, calling_ae

    def destination(self, name: str, port: int, called: str = "ANY-SCP", **settings: Any) -> str:
        """Configure a destination on loopback, wait until the Link runs it, and give its id."""
        host = settings.pop("host", "127.0.0.1")
        made = {"name": name, "host": host, "port": port, "ae_title": called, **settings}
        body = {"link": self.site.link_id, "settings": made}
        key: str = self.site.rest.json("/api/v1/destinations", method="POST", body=body)["id"]
        self.until(self.site.in_sync)
        return key

    def rule(self, *targets: str, **more: Any) -> str:
        """Have everything of this modality delivered there."""
        condition = {"calling_ae": self.calling_ae}
        body = {
            "name": f"{self.calling_ae} {fresh_uid()}",
            "condition": condition,
            "action": {"targets": targets},
            **more,
        }
        key: str = self.site.rest.json("/api/v1/rules", method="POST", body=body)["id"]
        return key

    def acquire(self, *paths: Path, options: tuple[str, ...] = ("-dn",)) -> None:
        """Send files as the modality does."""
        address = [
            "-aet",
            self.calling_ae,
            "-aec",
            "SWALLOWTAIL",
            "127.0.0.1",
            str(self.site.port("imaging")),
        ]
        argv = ["/usr/bin/dcmsend", *options, *address, *map(str, paths)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def stored(self, *samples: Sample) -> dict[str, bytes]:
        """Give what the Cloud has of these, byte by byte.

        DCMTK writes data sets anew when it sends them.
        """
        found = {}
        for sample in samples:
            (one,) = self.site.rest.items(f"/api/v1/instances?sop_instance={sample.sop_instance}")
            found[str(sample.sop_instance)] = self.site.rest.fetch(
                f"/api/v1/instances/{one['id']}/dataset"
            )
        return found

    def deliveries(self, destination: str) -> list[dict[str, Any]]:
        """Give the deliveries of a destination, the oldest first."""
        return [*self.site.rest.items(f"/api/v1/deliveries?destination={destination}")][::-1]

    def states(self, destination: str) -> Counter[str]:
        """Count them by state."""
        return Counter(one["state"] for one in self.deliveries(destination))

    def queue(self, destination: str) -> dict[str, Any]:
        """Give how a destination's queue goes."""
        found: dict[str, Any] = self.site.rest.json(f"/api/v1/destinations/{destination}")["queue"]
        return found

    def act(self, path: str, **body: Any) -> Any:
        """POST something."""
        return self.site.rest.json(f"/api/v1/{path}", method="POST", body=body)

    def alarms(self, condition: str) -> list[dict[str, Any]]:
        """Give the raised alarms of a condition."""
        return [
            one for one in self.site.rest.items("/api/v1/alarms") if one["condition"] == condition
        ]

    def until(self, holds: Callable[[], Any], seconds: float = LOST) -> None:
        """Return when something holds; the programs must run meanwhile."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, (
                self.site.cloud.text()[-2000:] + self.site.link.text()[-2000:]
            )
            threading.Event().wait(0.02)

    def until_delivered(self, destination: str, count: int, seconds: float = LOST) -> None:
        """Return when so many have arrived and nothing else is left."""
        self.until(lambda: self.states(destination) == {"delivered": count}, seconds)


def small(folder: Path, count: int) -> list[Sample]:
    """Write so many small images of one study, each with its own bytes."""
    (sample,) = [one for one in ultrasound_study(folder / "source") if "alette" in one.title][
        :1
    ] or [ultrasound_study(folder)[2]]
    made = []
    for number in range(count):
        uid = str(fresh_uid())[: len(sample.sop_instance)].ljust(len(sample.sop_instance), "7")
        path = folder / f"small-{number:03}.dcm"
        path.write_bytes(
            sample.path.read_bytes().replace(sample.sop_instance.encode(), uid.encode())
        )
        made.append(
            Sample(
                f"small {number}",
                path,
                sample.study,
                sample.series,
                UID(uid),
                sample.sop_class,
                sample.transfer_syntax,
            )
        )
    return made


class Archive:
    """A pynetdicom SCP that keeps what comes, in order and as often as it comes.

    `on_store` may block it or change its answer.

    Not `sim.archive`: that is a program, so that a test can kill it, and what blocks or answers
    here is the test's own code.
    """

    def __init__(self, *sop_classes: str) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.on_store: Callable[[evt.Event, int], int] = lambda event, number: 0
        self.ends: list[str] = []
        """How associations ended: EVT_RELEASED or EVT_ABORTED."""
        self.ended = threading.Event()
        self.port = free_port()
        self._entity = AE(ae_title="ARCHIVE")
        self._entity.add_supported_context("1.2.840.10008.1.1")
        for sop_class in sop_classes:
            self._entity.add_supported_context(
                sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
            )

    def accept(self, sop_class: str, *transfer_syntaxes: str) -> None:
        """Accept a SOP class in these transfer syntaxes only."""
        self._entity.add_supported_context(sop_class, list(transfer_syntaxes))

    @property
    def uids(self) -> list[str]:
        """In the order in which they came."""
        return [uid for uid, _ in self.received]

    def _store(self, event: evt.Event) -> int:
        status = self.on_store(event, len(self.received) + 1)
        if status == 0:
            self.received.append(
                (event.request.AffectedSOPInstanceUID, event.encoded_dataset(include_meta=False))
            )
        return status

    def _end(self, event: evt.Event) -> None:
        self.ends.append(event.event.name)
        self.ended.set()

    @contextmanager
    def serving(self) -> Iterator["Archive"]:
        """Serve on `port`."""
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_RELEASED, self._end),
            (evt.EVT_ABORTED, self._end),
        ]
        server = self._entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=handlers
        )
        try:
            yield self
        finally:
            server.shutdown()


@contextmanager
def storescp(folder: Path, *options: str, port: int = 0) -> Iterator[tuple[Program, int, Path]]:
    """Run DCMTK's storescp, which writes what it gets as it is; gives its port and folder."""
    port, received = port or free_port(), folder / "received"
    received.mkdir(exist_ok=True)
    with Program(
        "storescp",
        ["/usr/bin/storescp", "+B", "-pm", *options, "-od", received, str(port)],
        folder=folder,
    ) as program:
        program.wait_for_port(port)
        yield program, port, received
