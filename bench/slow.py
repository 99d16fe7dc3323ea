"""Deliveries to a healthy destination beside two that fail.

One PACS accepts and then reads nothing, one refuses all.

`python -m bench --only slow [--seconds 600]`. Every PACE one instance is sent: to the healthy
destination alone for a fifth of the time, then to all three. A delivery's time is that from its row
to its settlement, by the Cloud's clock.
"""

import shutil
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from bench import ours
from bench.peers import Dcmtk
from bench.sets import load
from bench.store_out import stored
from bench.table import Row, alone
from swallowtail.dicom.negotiation import AcceptorPolicy, answer
from swallowtail.dicom.pdu import AssociateRQ
from swallowtail.dicom.pdu_codec import decode_pdu, encode_pdu
from swallowtail.sim.installation import Installation
from swallowtail.sim.processes import Program, ProgramFailedError, free_port

SECONDS: Final = 600.0
PACE: Final = 0.25
SETTLED: Final = 60.0
HEADER: Final = struct.Struct(">BxI")
BEYOND: Final = "p99 beside two bad PACS, over its bar"


class Deaf:
    """A peer that accepts every association, and reads nothing after the request for it."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.accepted = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="deaf", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # ends the accept that the thread waits in
        self._thread.join()
        for one in (self._server, *self._open):
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            kind, length = HEADER.unpack(connection.recv(HEADER.size, socket.MSG_WAITALL))
            request = decode_pdu(kind, connection.recv(length, socket.MSG_WAITALL))
            if isinstance(request, AssociateRQ):
                connection.sendall(encode_pdu(answer(request, AcceptorPolicy(any_storage=True))))
                self.accepted += 1


def measure(
    folder: Path, report: Callable[[str], None], *, seconds: float = SECONDS
) -> Iterator[Row]:
    """Return the rows; takes 1.2 times `seconds`, and a minute."""
    with ExitStack() as stack:
        healthy = Dcmtk(folder / "healthy", nodelay=False, max_pdu=None, fork=False)
        stack.callback(healthy.close)
        deaf = stack.enter_context(Deaf())
        refusing = free_port()
        refuser = Program(
            "refuser", ["/usr/bin/storescp", "--refuse", str(refusing)], folder=folder
        )
        stack.enter_context(refuser)
        refuser.wait_for_port(refusing)
        ports = {"healthy": healthy.port, "deaf": deaf.port, "refusing": refusing}
        places = [
            {"name": name, "host": "127.0.0.1", "port": port, "ae_title": "ANY-SCP"}
            for name, port in ports.items()
        ]
        site = ours.start(folder / "site", destinations=places)
        stack.callback(site.stop)
        traffic = Traffic(site, stored(site, load("ct"), folder))
        report(
            f"slow: {seconds / 5:g} s to the healthy destination alone, then {seconds:g} s to all"
            " three"
        )
        without = traffic.run(["healthy"], seconds / 5)
        beside = traffic.run(list(ports), seconds)
        _bad_as_meant(site, deaf)
    shutil.rmtree(folder)
    yield from rows(without, beside)


class Traffic:
    """A sender of instances of one study, one after the other, at a steady pace."""

    def __init__(self, site: Installation, study: str) -> None:
        self._site, self._study = site, study
        self._uids = [one["sop_instance"] for one in site.instances(study)]
        self._newest = 0

    def run(self, destinations: list[str], seconds: float) -> list[float]:
        """Send for so long.

        Returns the milliseconds of every delivery to the healthy destination.
        """
        started, number = time.monotonic(), 0
        while (due := started + number * PACE) < started + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            body = {
                "destinations": [f"{self._site.link_id}:{name}" for name in destinations],
                "sop_instances": [self._uids[number % len(self._uids)]],
            }
            self._site.rest.json(f"/api/v1/studies/{self._study}/send", method="POST", body=body)
            number += 1
        return self._settled(number)

    def _settled(self, count: int) -> list[float]:
        until = time.monotonic() + SETTLED
        while True:
            found = [one for one in self._deliveries() if one["id"] > self._newest]
            done = [one for one in found if one["state"] == "delivered"]
            if len(done) == count:
                self._newest = max(one["id"] for one in found)
                return [1000 * (one["changed"] - one["created"]) for one in done]
            if time.monotonic() > until:
                raise ProgramFailedError(
                    f"{len(done)} of {count} deliveries to the healthy destination arrived"
                )
            time.sleep(1.0)

    def _deliveries(self) -> Iterator[Any]:
        return self._site.rest.items(f"/api/v1/deliveries?destination={self._site.link_id}:healthy")


def _bad_as_meant(site: Installation, deaf: Deaf) -> None:
    """Check that both failing destinations failed: a run without them measures nothing."""
    queues = {
        name: site.rest.json(f"/api/v1/destinations/{site.link_id}:{name}")["queue"]
        for name in ("deaf", "refusing")
    }
    refused = queues["refusing"]
    if (
        not deaf.accepted
        or not refused["failing_since"]
        or any(one["counts"].get("delivered") for one in queues.values())
    ):
        raise ProgramFailedError(f"the bad destinations were not as bad as they should: {queues}")


def rows(without: list[float], beside: list[float]) -> Iterator[Row]:
    """Return both percentiles, and by how much the bar is missed: 0 or less is within it."""
    alone_p99, beside_p99 = (statistics.quantiles(times, n=100)[98] for times in (without, beside))
    for name, times, p99 in (
        ("alone", without, alone_p99),
        ("beside two bad PACS", beside, beside_p99),
    ):
        note = (
            f"median {statistics.median(times):.1f}, most {max(times):.1f}, {len(times)} deliveries"
        )
        yield alone(f"delivery p99 {name}", p99, "ms", note=note)
    bar = max(1.2 * alone_p99, alone_p99 + 50)
    yield alone(BEYOND, beside_p99 - bar, "ms", note=f"the bar is {bar:.1f} ms")
