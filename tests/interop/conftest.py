"""One real Cloud and one real Link for all interop tests, with a listener for each receiver's PDU
length worth trying.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from swallowtail.sim.installation import ANY_DEVICE, Installation, Listening
from swallowtail.sim.processes import Program, free_port
from tests.programs import quiet, sound

PRIVATE_SYNTAX = "1.2.840.113619.5.2"
LISTENERS = (
    Listening("imaging", more=ANY_DEVICE),
    Listening("narrow", more={**ANY_DEVICE, "max_pdu": 4096}),
    Listening(
        "picky",
        more={**ANY_DEVICE, "transfer_syntaxes": ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]},
    ),
    Listening("private", more={**ANY_DEVICE, "additional_transfer_syntaxes": [PRIVATE_SYNTAX]}),
    Listening("crowded", more=ANY_DEVICE),
    Listening("known", more={}),
)
DEVICES = ({"name": "us-1", "ae_title": "ULTRASOUND1", "addresses": ["127.0.0.0/8"]},)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(
        tmp_path_factory.mktemp("site"), listeners=LISTENERS, devices=DEVICES
    ) as installation:
        yield installation
    for program in installation.programs:
        assert program.exit_code == 0, program.failure(
            f"ended with {program.exit_code} when it was asked to stop"
        )
        quiet(program.output)


@pytest.fixture(autouse=True)
def _site_is_sound(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test under which Link or Cloud ends or logs an error is the one that fails, with their
    last lines.
    """
    yield
    if "site" in request.fixturenames:
        sound(request.getfixturevalue("site").programs)


@pytest.fixture
def bit_preserving(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """DCMTK's storescp that writes what it receives as it is.

    The oracle for what DCMTK's senders send.
    """
    port, folder = free_port(), tmp_path / "oracle"
    folder.mkdir()
    argv = ["/usr/bin/storescp", "+B", "+xa", "-pm", "-od", folder, str(port)]
    with Program("storescp", argv, folder=tmp_path) as program:
        program.wait_for_port(port)
        yield port, folder


@pytest.fixture(scope="session", autouse=True)
def _peers_are_here() -> None:
    for program in ("/usr/bin/storescu", "/usr/bin/dciodvfy", "/usr/sbin/Orthanc"):
        assert shutil.which(program), (
            f"{program} is missing; `make test` installs it (apt install dcmtk dicom3tools orthanc)"
        )
