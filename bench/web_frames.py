"""A frame of a stored cine over WADO-RS beside a static file of the same size.

One server, one connection, alternately.
"""

import http.client
import json
import os
import secrets
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pydicom

from bench.sets import load
from bench.table import Row, versus

ROUNDS: Final = 300
WARM_UP: Final = 20
WAIT: Final = 60.0
SINGLE: Final = "application/octet-stream; transfer-syntax=*"
NAME: Final = "wado frame of a cine, p50"
PEER: Final = "static file"


class Client:
    """One persistent connection."""

    def __init__(self, url: str, ca: str) -> None:
        parts = urlsplit(url)
        context = ssl.create_default_context(cafile=ca)
        self._connection = http.client.HTTPSConnection(
            str(parts.hostname), parts.port, context=context, timeout=WAIT
        )
        self.token = ""

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        """Send one request and return its body; it must be a success."""
        sent = {"Authorization": f"Bearer {self.token}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        self._connection.request(method, path, body, sent)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Send JSON to the API."""
        text = None if body is None else json.dumps(body).encode()
        return json.loads(
            self(method, f"/api/v1/{path}", text, Content_Type="application/json") or b"null"
        )


def measure(folder: Path, report: Callable[[str], None]) -> Iterator[Row]:
    """Return the row; takes half a minute."""
    static = folder / "static"
    static.mkdir(parents=True)
    command = [sys.executable, "-m", "bench.web_server", str(folder / "data"), str(static)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "src:."}
    ) as server:
        try:
            assert server.stdout is not None
            facts = json.loads(server.stdout.readline())
            client = Client(facts["url"], facts["ca"])
            frame = _stored(client, facts["token"])
            size = len(client("GET", frame, Accept=SINGLE))
            (static / "frame").write_bytes(secrets.token_bytes(size))
            report(f"wado: {ROUNDS} frames of {size} bytes beside a static file")
            yield _compared(client, frame, size)
        finally:
            server.terminate()


def _stored(client: Client, operator: str) -> str:
    """Store a cine as a new organisation's clinician, and return the path of its first frame."""
    client.token = operator
    organisation = client.api("POST", "organisations", {"name": "bench"})["id"]
    query = f"?organisation={organisation}"
    client.token = client.api("POST", f"tokens{query}", {"name": "admin", "role": "administrator"})[
        "token"
    ]
    client.api("POST", "facilities", {"name": "main", "time_zone": "UTC"})
    client.token = client.api("POST", "tokens", {"name": "viewer", "role": "clinician"})["token"]
    file = load("cine").files[0]
    head = b"--edge\r\nContent-Type: application/dicom\r\n\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=edge'
    client(
        "POST", "/dicomweb/studies", head + file.read_bytes() + b"\r\n--edge--", Content_Type=kind
    )
    with pydicom.dcmread(file, stop_before_pixels=True) as data:
        place = (
            f"/dicomweb/studies/{data.StudyInstanceUID}/series/{data.SeriesInstanceUID}/instances"
        )
        found = f"{place}?SOPInstanceUID={data.SOPInstanceUID}"
        until = time.monotonic() + WAIT
        while not client("GET", found):
            if time.monotonic() > until:
                raise RuntimeError("the cine was not indexed")
        return f"{place}/{data.SOPInstanceUID}/frames/1"


def _compared(client: Client, frame: str, size: int) -> Row:
    seconds: dict[str, list[float]] = {frame: [], "/bench/frame": []}
    for number in range(ROUNDS + WARM_UP):
        for path, times in seconds.items():
            begun = time.perf_counter()
            content = client("GET", path, Accept=SINGLE)
            if number >= WARM_UP:
                times.append(time.perf_counter() - begun)
            assert len(content) == size, (path, len(content))
    ours, theirs = (statistics.median(times) for times in seconds.values())
    p95 = [1000 * sorted(times)[int(len(times) * 0.95)] for times in seconds.values()]
    note = (
        f"({1000 * ours:.2f} and {1000 * theirs:.2f} ms; p95 {p95[0]:.1f} and {p95[1]:.1f} ms;"
        f" {size} bytes)"
    )
    return versus(NAME, ours, theirs, PEER, note=note)
