"""Orthanc as the sender: it stores what it was given, and reports what it heard."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swallowtail.sim.dicom_files import ultrasound_study
from swallowtail.sim.installation import Installation
from swallowtail.sim.processes import Program, free_port
from tests.interop.corpus import made, renewed, sources


class Orthanc:
    def __init__(self, program: Program, http: int) -> None:
        self.program, self._http = program, http

    def ask(self, path: str, content: bytes = b"") -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._http}{path}", data=content or None
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def orthanc(site: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    folder, http = tmp_path_factory.mktemp("orthanc"), free_port()
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomPort": free_port(),
        "HttpPort": http,
        "DicomModalities": {
            name: [site.called_ae(name), "127.0.0.1", site.port(name)]
            for name in ("imaging", "picky")
        },
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with Program(
        "orthanc", ["/usr/sbin/Orthanc", folder / "orthanc.json"], folder=folder
    ) as program:
        program.wait_for_port(http)
        yield Orthanc(program, http)


def test_echo(orthanc: Orthanc) -> None:
    assert orthanc.ask("/modalities/imaging/echo", b"{}") == {}


def test_whole_study_in_every_syntax(site: Installation, orthanc: Orthanc, tmp_path: Path) -> None:
    samples = ultrasound_study(tmp_path)
    ids = [orthanc.ask("/instances", sample.path.read_bytes())["ID"] for sample in samples]
    answer = orthanc.ask(
        "/modalities/imaging/store", json.dumps({"Resources": ids, "Synchronous": True}).encode()
    )
    assert (answer["InstancesCount"], answer["FailedInstancesCount"]) == (4, 0)
    for sample in samples:
        (item,) = site.rest.items(f"/api/v1/instances?sop_instance={sample.sop_instance}")
        assert item["transfer_syntax"] == sample.transfer_syntax
        assert item["calling_ae"] == "ORTHANC"
    site.wait_for_instances(len(samples), samples[0].study)


@pytest.mark.parametrize(
    "name",
    ["reportsi.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "waveform_ecg.dcm"],
)
def test_other_objects(site: Installation, orthanc: Orthanc, tmp_path: Path, name: str) -> None:
    (source,) = (path for path in sources() if path.name == name)
    one = renewed(source, tmp_path)
    stored = orthanc.ask("/instances", one.path.read_bytes())["ID"]
    answer = orthanc.ask(
        "/modalities/imaging/store",
        json.dumps({"Resources": [stored], "Synchronous": True}).encode(),
    )
    assert (answer["InstancesCount"], answer["FailedInstancesCount"]) == (1, 0)
    (item,) = site.rest.items(f"/api/v1/instances?sop_instance={one.sop_instance}")
    assert item["transfer_syntax"] == one.transfer_syntax


def test_pdf(site: Installation, orthanc: Orthanc, tmp_path: Path) -> None:
    pdf = made(tmp_path)[0]
    stored = orthanc.ask("/instances", pdf.path.read_bytes())["ID"]
    answer = orthanc.ask(
        "/modalities/imaging/store",
        json.dumps({"Resources": [stored], "Synchronous": True}).encode(),
    )
    assert answer["FailedInstancesCount"] == 0
    (item,) = site.rest.items(f"/api/v1/instances?sop_instance={pdf.sop_instance}")
    assert site.rest.fetch(f"/api/v1/instances/{item['id']}/dataset").count(b"%PDF-1.4") == 1
