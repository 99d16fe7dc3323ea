"""One patient through everything that can go right and wrong.

Then no byte of it is where no patient may be (threats 27 and 28).

That is: in either program's output at debug, in Link's state, working and temporary folder, and in
no core.
"""

import os
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from swallowtail.dicom.commands import store_request
from swallowtail.sim.dicom_files import Sample, ultrasound_study
from swallowtail.sim.modality import Modality
from swallowtail.sim.processes import Program
from tests.leaks.associations import (
    PATHS,
    ROOT,
    US,
    Line,
    associated,
    data_set,
    proposing,
    reset_within_a_data_set,
)
from tests.leaks.canary import PATIENT, STUDY_UID, TEXT, sweep
from tests.leaks.conftest import POWERLESS, Site
from tests.leaks.requests import RIGHT, WRONG, Client
from tests.programs import quiet, sound

SETTLED = 20.0
CRASHES = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)
LEAST_ERROR_PATHS = 40


@pytest.fixture(scope="module")
def stored(site: Site) -> None:
    """The patient's first image is there, and found."""
    with associated(site.installation.port("imaging")) as line:
        line.store(f"{ROOT}.1", data_set(f"{ROOT}.1"))
        assert line.status() == 0
    site.installation.wait_for_instances(1, STUDY_UID)


@pytest.fixture(scope="module")
def client(site: Site) -> Client:
    made = site.installation
    parts = urllib.parse.urlsplit(made.url)
    tokens = {
        "administrator": made.token,
        "operator": (made.folder / "operator.token").read_text().strip(),
    }
    path = f"/api/v1/links/{made.link_id}/configuration"
    document = made.rest.json(path)["document"]
    pacs = {
        "name": "pacs",
        "host": "127.0.0.1",
        "port": site.pacs,
        "ae_title": "PACS",
        "attempts": 1,
    }
    made.rest.json(path, method="PUT", body={"document": document | {"destinations": [pacs]}})
    made.wait_until_listening()
    (destination,) = made.rest.items("/api/v1/destinations")
    return Client(
        parts.hostname or "",
        parts.port or 0,
        made.ca,
        tokens,
        {"link": made.link_id, "destination": destination["id"]},
    )


@pytest.fixture(autouse=True)
def _clean(site: Site) -> Iterator[None]:
    """The test under which a patient comes to light, or a program ends or logs an error, is the one
    that fails.
    """
    yield
    sound(site.installation.programs)
    assert [*sweep({*site.logs, *site.of_link})] == []


def test_the_sweep_of_these_places_can_fail(site: Site) -> None:
    for place in {*site.logs, *site.of_link}:
        planted = place / "planted" if place.is_dir() else place.with_name("planted.log")
        planted.write_bytes(TEXT.encode("utf-16"))
        assert [*sweep([place if place.is_dir() else planted])] != []
        planted.unlink()
    for program in (site.installation.link, site.installation.cloud):
        assert '"level": "info"' in program.text()
        assert '"level": "debug"' not in program.text(), (
            "libraries stay at info, and our own code has no event below"
        )


def test_a_study_that_arrives(site: Site, tmp_path: Path) -> None:
    samples: list[Sample] = ultrasound_study(tmp_path, PATIENT)
    modality = Modality(site.installation.port("imaging"), "SWALLOWTAIL")
    assert {
        responses.outcome for responses in modality.send([sample.path for sample in samples])
    } == {"0000"}
    site.installation.wait_for_instances(len(samples), samples[0].study)
    refused = Modality(site.installation.port("picky"), "SWALLOWTAIL").send([samples[0].path])
    assert refused[0].outcome == "aborted"  # by pynetdicom, which has got no context
    unknown = Modality(site.installation.port("known"), "SWALLOWTAIL", "STRANGER").send(
        [samples[0].path]
    )
    assert unknown[0].outcome == "rejected (1,1,3)"


@pytest.mark.parametrize("name", PATHS)
def test_what_a_modality_does_wrong(site: Site, stored: None, name: str) -> None:
    PATHS[name](site.installation.port("imaging"))


def test_a_sender_that_crashes(site: Site) -> None:
    reset_within_a_data_set(site.installation.port("imaging"))


def test_a_context_that_is_refused(site: Site) -> None:
    with associated(
        site.installation.port("picky"), proposing("1.2.840.10008.5.1.4.1.1.2")
    ) as line:
        line.store(f"{ROOT}.20", data_set(f"{ROOT}.20"))
        assert line.status() == -1


@pytest.mark.parametrize("name", RIGHT)
def test_what_a_client_asks(client: Client, stored: None, name: str) -> None:
    assert client.ask(RIGHT[name]) == RIGHT[name].status


@pytest.mark.parametrize("name", WRONG)
def test_what_a_client_asks_wrong(client: Client, stored: None, name: str) -> None:
    assert client.ask(WRONG[name]) == WRONG[name].status


@pytest.mark.parametrize("secured", [True, False])
def test_bytes_that_are_no_request(client: Client, secured: bool) -> None:
    client.pour(f"{PATIENT.name} / {TEXT}\r\n\r\n".encode(), secured=secured)
    client.pour(f"GET /{TEXT} HTTP/9.9\r\n{TEXT}\r\n\r\n".encode(), secured=secured)


def test_a_pacs_that_names_the_patient_as_it_refuses(
    site: Site, client: Client, stored: None
) -> None:
    made = site.installation
    body = {"destinations": [client.names["destination"]], "sop_instances": [f"{ROOT}.1"]}
    assert (
        made.rest.json(f"/api/v1/studies/{STUDY_UID}/send", method="POST", body=body)["queued"] == 1
    )
    path = f"/api/v1/deliveries?study={STUDY_UID}"
    made.cloud.wait_until(
        lambda: next(made.rest.items(path))["status"] == "A900", seconds=SETTLED, what="the refusal"
    )


def test_what_was_malformed_is_set_aside(site: Site, stored: None) -> None:
    made = site.installation
    conditions = {alarm["condition"] for alarm in made.rest.items("/api/v1/alarms")}
    assert conditions >= {
        "instance-quarantined",
        "instance-conflict",
    }  # so those paths went as far as they can


def _first_half(line: Line, uid: str) -> None:
    """Send the command and two megabytes of a data set that goes on."""
    line.command(store_request(1, US, uid))
    whole = data_set(uid, 2_000_000)
    for at in range(0, len(whole), 16_000):
        line.fragment(whole[at : at + 16_000])


def test_link_has_no_file_open_while_an_object_passes(site: Site) -> None:
    with associated(site.installation.port("imaging")) as line:
        _first_half(line, f"{ROOT}.40")
        opened = [
            str(one.readlink()) for one in Path(f"/proc/{site.installation.link.pid}/fd").iterdir()
        ]
        files = {one for one in opened if one.startswith("/") and not one.startswith("/dev/")}
        assert files == {str(site.installation.link.output)}
        assert sum(one.startswith("socket:") for one in opened) > len(site.installation.listeners)


def limits(pid: int, name: str) -> list[str]:
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith(name)
    ]
    return line.removeprefix(name).split()


def test_link_can_leave_no_core_and_nobody_may_read_its_memory(site: Site, tmp_path: Path) -> None:
    assert limits(site.installation.link.pid, "Max core file size")[:2] == ["0", "0"]
    assert reading(site.installation.link.pid) != 0
    with Program(
        "sleep", [*POWERLESS, "sleep", "60"], folder=tmp_path
    ) as sleeper:  # else the refusal means nothing
        sleeper.wait_until(
            lambda: reading(sleeper.pid) == 0, seconds=SETTLED, what="being readable"
        )


def reading(pid: int) -> int:
    """Try to read what only those may who may also dump the process.

    As Link's own user, without capabilities.
    """
    return subprocess.run(
        [*POWERLESS, "cat", f"/proc/{pid}/environ"], capture_output=True, check=False
    ).returncode


@pytest.mark.parametrize("number", CRASHES, ids=lambda number: number.name)
def test_link_dies_within_an_object(site: Site, number: signal.Signals) -> None:
    made = site.installation
    with associated(made.port("imaging")) as line:
        _first_half(line, f"{ROOT}.{50 + number}")
        os.kill(made.link.pid, number)
        ended = os.waitid(os.P_PID, made.link.pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        assert (ended.si_code, ended.si_status) == (os.CLD_KILLED, number)  # and not CLD_DUMPED
        assert made.link.wait(seconds=SETTLED) == -number
        assert line.answer() == b""
    assert [*sweep({*site.logs, *site.of_link})] == []
    assert {path.name for path in (made.folder / "state").iterdir()} == {"device.key"}
    assert [*site.work.iterdir()] == [*site.temporary.iterdir()] == []
    made.start_link()
    made.wait_until_listening()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_the_cloud_ends_within_an_object(site: Site, number: signal.Signals) -> None:
    made = site.installation
    with associated(made.port("imaging")) as line:
        _first_half(line, f"{ROOT}.{80 + number}")
        made.cloud.signal(number)
        made.cloud.wait(seconds=2 * SETTLED)  # SIGTERM: what runs gets 10 s, then requests 5 s
        line.fragment(b"\0\0", header=0x02)
        assert line.status() in (0xA700, -1)
    with associated(made.port("imaging")) as line:
        line.store(f"{ROOT}.90", data_set(f"{ROOT}.90"))
        assert line.status() == -1
    made.start_cloud()
    made.wait_until_listening()


def test_at_the_end_nothing_is_anywhere(site: Site) -> None:
    assert len(PATHS) + len(WRONG) >= LEAST_ERROR_PATHS
    began = time.monotonic()
    for program in site.installation.programs:
        assert program.stop() == 0
        quiet(program.output)
    assert time.monotonic() - began < SETTLED
    assert [*sweep({*site.logs, *site.of_link})] == []
    assert [*site.work.iterdir()] == [*site.temporary.iterdir()] == []
