"""DCMTK's senders, default and unusual options.

What they send is what its bit-preserving receiver gets from the same command.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from swallowtail.sim.dicom_files import Sample, data_set_of, ultrasound_study
from swallowtail.sim.installation import Installation
from tests.interop.conftest import PRIVATE_SYNTAX

SUCCESS = 0
PLAIN = (1, 2)  # palette and RGB stills: uncompressed


def run(
    program: str, *options: str | Path, port: int, files: Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    argv = [f"/usr/bin/{program}", *options, "-aec", "SWALLOWTAIL", "127.0.0.1", str(port), *files]
    return subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, timeout=60, check=False
    )


def came(site: Installation, sample: Sample) -> bytes:
    """The one visible copy of an instance."""
    (item,) = site.rest.items(f"/api/v1/instances?sop_instance={sample.sop_instance}")
    return site.rest.fetch(f"/api/v1/instances/{item['id']}/dataset")


def expected(folder: Path, sample: Sample) -> bytes:
    (path,) = folder.glob(f"*{sample.sop_instance}")
    return data_set_of(path.read_bytes())


@pytest.mark.parametrize("listener", ["imaging", "narrow"])
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-pts", "38"),
        ("-ppc", "128"),
        ("-pts", "16", "-ppc", "128"),
        ("-pdu", "4096"),
        ("--repeat", "20"),
    ],
    ids=" ".join,
)
def test_echoscu(site: Installation, listener: str, options: tuple[str, ...]) -> None:
    done = run("echoscu", *options, port=site.port(listener))
    assert (done.returncode, done.stderr) == (SUCCESS, "")


def test_echoscu_that_proposes_more_than_64_kib_is_aborted(site: Installation) -> None:
    done = run(
        "echoscu", "-pts", "38", "-ppc", "128", port=site.port("imaging")
    )  # some 120 KB; the cap is 64 KiB (threat 14)
    assert done.returncode != SUCCESS
    assert run("echoscu", port=site.port("imaging")).returncode == SUCCESS


def test_echoscu_that_aborts_leaves_the_listener_well(site: Installation) -> None:
    assert run("echoscu", "--abort", port=site.port("imaging")).returncode == SUCCESS
    assert run("echoscu", port=site.port("imaging")).returncode == SUCCESS


def test_echoscu_that_nobody_knows_is_rejected(site: Installation) -> None:
    done = run("echoscu", "-aet", "STRANGER", port=site.port("known"))
    assert done.returncode != SUCCESS
    assert "Calling AE Title Not Recognized" in done.stderr
    assert run("echoscu", "-aet", "ULTRASOUND1", port=site.port("known")).returncode == SUCCESS


@pytest.mark.parametrize("listener", ["imaging", "narrow"])
@pytest.mark.parametrize(
    ("which", "options"),
    [
        (PLAIN, ()),
        (PLAIN, ("-R",)),
        (PLAIN, ("-R", "-xe")),
        (PLAIN, ("-R", "-xb")),
        (PLAIN, ("-xi",)),
        (PLAIN, ("-R", "-xi")),
        (PLAIN, ("-pdu", "131072")),
        (PLAIN, ("-pdu", "4096", "--max-send-pdu", "4096")),
        (PLAIN, ("--max-send-pdu", "131072")),
        (PLAIN, ("-u",)),
        (PLAIN, ("--user", "heron", "--password", "ada")),
        (PLAIN, ("-xd",)),
        ((0,), ("-xy",)),
        ((0,), ("-R", "-xy")),
        ((3,), ("-xv",)),
        ((3,), ("-R", "-xv")),
    ],
    ids=str,
)
def test_storescu(
    site: Installation,
    bit_preserving: tuple[int, Path],
    tmp_path: Path,
    listener: str,
    which: tuple[int, ...],
    options: tuple[str, ...],
) -> None:
    study = ultrasound_study(tmp_path)
    samples = [study[number] for number in which]
    port, folder = bit_preserving
    for receiver in (port, site.port(listener)):
        done = run("storescu", *options, port=receiver, files=[sample.path for sample in samples])
        assert (done.returncode, done.stderr) == (SUCCESS, ""), done.stderr
    assert [came(site, sample) == expected(folder, sample) for sample in samples] == [True] * len(
        samples
    )


@pytest.mark.parametrize("options", [("-R", "+C"), ("+C", "-xy")], ids=" ".join)
def test_storescu_that_combines_syntaxes(
    site: Installation, tmp_path: Path, options: tuple[str, ...]
) -> None:
    sample = ultrasound_study(tmp_path)[1]
    done = run("storescu", *options, port=site.port("picky"), files=[sample.path])
    assert done.returncode == SUCCESS, done.stderr
    (item,) = site.rest.items(f"/api/v1/instances?sop_instance={sample.sop_instance}")
    assert item["transfer_syntax"] == "1.2.840.10008.1.2.1"


PROFILE = """[[TransferSyntaxes]]
[Mixed]
TransferSyntax1 = {private}
TransferSyntax2 = LittleEndianImplicit
[[PresentationContexts]]
[Stills]
PresentationContext1 = UltrasoundImageStorage\\Mixed
[[Profiles]]
[Private]
PresentationContexts = Stills
"""


def send_privately(site: Installation, folder: Path, listener: str) -> tuple[Sample, str, int]:
    """Send a still on a context that proposes a private syntax before Implicit VR Little Endian."""
    profile = folder / "storescu.cfg"
    profile.write_text(PROFILE.format(private=PRIVATE_SYNTAX))
    sample = ultrasound_study(folder)[1]
    options = ("-v", "-xf", profile, "Private")
    done = run("storescu", *options, port=site.port(listener), files=[sample.path])
    return sample, done.stderr, done.returncode


def test_storescu_that_proposes_a_private_syntax_first_gets_the_known_one(
    site: Installation, tmp_path: Path
) -> None:
    sample, reported, status = send_privately(site, tmp_path, "imaging")
    assert status == SUCCESS, reported
    (item,) = site.rest.items(f"/api/v1/instances?sop_instance={sample.sop_instance}")
    assert item["transfer_syntax"] == "1.2.840.10008.1.2"


def test_storescu_gets_the_private_syntax_that_is_configured(
    site: Installation, tmp_path: Path
) -> None:
    _, reported, status = send_privately(site, tmp_path, "private")
    assert status != SUCCESS
    assert f"Unsupported transfer syntax: {PRIVATE_SYNTAX}" in reported, "DCMTK cannot encode it"


def test_storescu_whose_syntax_is_not_allowed_hears_so(site: Installation, tmp_path: Path) -> None:
    cine = ultrasound_study(tmp_path)[0]
    done = run("storescu", "-R", "-xy", port=site.port("picky"), files=[cine.path])
    assert done.returncode != SUCCESS
    assert (
        list(site.rest.items(f"/api/v1/instances?sop_instance={cine.sop_instance}&hidden=true"))
        == []
    )


def test_storescu_inventing_instances(site: Installation, tmp_path: Path) -> None:
    sample = ultrasound_study(tmp_path)[2]
    done = run("storescu", "+II", "--repeat", "5", port=site.port("imaging"), files=[sample.path])
    assert done.returncode == SUCCESS, done.stderr
    assert list(site.rest.items(f"/api/v1/instances?sop_instance={sample.sop_instance}")) == []


def test_storescu_that_aborts_after_its_stores_keeps_them(
    site: Installation, tmp_path: Path
) -> None:
    sample = ultrasound_study(tmp_path)[2]
    done = run("storescu", "--abort", port=site.port("imaging"), files=[sample.path])
    assert done.returncode == SUCCESS, done.stderr
    (item,) = site.rest.items(f"/api/v1/instances?sop_instance={sample.sop_instance}")
    assert item["length"] > 0


@pytest.mark.parametrize("listener", ["imaging", "narrow"])
@pytest.mark.parametrize(
    "options",
    [(), ("-dn",), ("-ma",), ("-pdu", "4096"), ("--max-send-pdu", "4096")],
    ids=" ".join,
)
def test_dcmsend(
    site: Installation,
    bit_preserving: tuple[int, Path],
    tmp_path: Path,
    listener: str,
    options: tuple[str, ...],
) -> None:
    samples = ultrasound_study(tmp_path)
    port, folder = bit_preserving
    for receiver in (port, site.port(listener)):
        done = run("dcmsend", *options, port=receiver, files=[sample.path for sample in samples])
        assert done.returncode == SUCCESS, done.stderr
    assert [came(site, sample) == expected(folder, sample) for sample in samples] == [True] * len(
        samples
    )


def test_dcmsend_from_eight_associations_at_once(site: Installation, tmp_path: Path) -> None:
    studies = [ultrasound_study(tmp_path / str(number)) for number in range(8)]
    argv = ["/usr/bin/dcmsend", "-aec", "SWALLOWTAIL", "127.0.0.1", str(site.port("imaging"))]
    running = [
        subprocess.Popen([*argv, *(sample.path for sample in study)], stderr=subprocess.DEVNULL)
        for study in studies
    ]
    assert [process.wait(timeout=60) for process in running] == [SUCCESS] * 8
    for study in studies:
        site.wait_for_instances(len(study), study[0].study)
