"""Every kind of object arrives and comes back as it was, byte by byte, and as a valid file."""

import subprocess
from pathlib import Path

import pytest

from swallowtail.sim.dicom_files import data_set_of
from swallowtail.sim.installation import Installation
from swallowtail.sim.modality import Modality
from tests.interop.corpus import VIDEOS, Object, made, renewed, sources


@pytest.fixture(scope="module")
def sent(site: Installation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Object]:
    """The whole corpus, sent by pynetdicom over one association with a context for each class and
    syntax.
    """
    folder = tmp_path_factory.mktemp("corpus")
    objects = [renewed(source, folder) for source in sources()] + made(folder)
    modality = Modality(site.port("imaging"), site.called_ae("imaging"))
    responses = modality.send([one.path for one in objects])
    assert {
        one.name: answer.outcome
        for one, answer in zip(objects, responses, strict=True)
        if not answer.stored
    } == {}
    return {one.name: one for one in objects}


NAMES = [path.name for path in sources()] + ["made-pdf", *(f"made-{name}" for name in VIDEOS)]


@pytest.mark.parametrize("name", NAMES)
def test_comes_back_as_it_was_sent(
    site: Installation, sent: dict[str, Object], name: str, tmp_path: Path
) -> None:
    one = sent[name]
    found = list(site.rest.items(f"/api/v1/instances?sop_instance={one.sop_instance}"))
    assert [(item["sop_class"], item["transfer_syntax"]) for item in found] == [
        (one.sop_class, one.transfer_syntax)
    ]
    assert site.rest.fetch(f"/api/v1/instances/{found[0]['id']}/dataset") == one.data_set()
    file = site.rest.fetch(f"/api/v1/instances/{found[0]['id']}/file")
    assert data_set_of(file) == one.data_set()
    returned = tmp_path / "returned.dcm"
    returned.write_bytes(file)
    assert findings(returned) - findings(one.path) == set()


def findings(path: Path) -> set[str]:
    """What dciodvfy calls an error in a file."""
    done = subprocess.run(["/usr/bin/dciodvfy", path], capture_output=True, timeout=30, check=False)
    return {
        line
        for line in done.stderr.decode(errors="replace").splitlines()
        if line.startswith("Error")
    }


def test_corpus_covers_what_was_promised(sent: dict[str, Object]) -> None:
    syntaxes = {one.transfer_syntax for one in sent.values()}
    classes = {one.sop_class for one in sent.values()}
    assert {f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2", ".5")} <= syntaxes
    assert {
        f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 70, 80, 81, 90, 91, 100, 102, 107, 201)
    } <= syntaxes
    storage = "1.2.840.10008.5.1.4.1.1."
    assert {
        storage + end
        for end in (
            "6.1",
            "3.1",
            "88.11",
            "88.33",
            "104.1",
            "77.1.1.1",
            "77.1.4.1",
            "66.4",
            "9.1.1",
        )
    } <= classes
