"""A destination that accepts JPEG baseline and refuses Explicit VR LE, with real processes.

Each arrives once, in order.

What it refuses is before and between what it accepts. Some runs have nothing else wrong with it; in
others it is out of resources for a moment, or aborts.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from swallowtail.sim.dicom_files import Sample, fresh_uid
from swallowtail.sim.installation import Installation
from swallowtail.sim.modality import Modality
from tests.interop.chain import Archive, Chain, small
from tests.modes import SOAK, amount

SYNTAXES = {"R": ExplicitVRLittleEndian, "J": JPEGBaseline8Bit}
ORDER = "RJJRJJ"
RUNS = amount(1, 4)
"""Of each case."""
SETTINGS = [
    {"connections": 1, "attempts": 1, "outstanding": 1},
    {"connections": 1, "attempts": 2, "outstanding": 1},
    {"connections": 1, "attempts": 5, "outstanding": 4},
    {"connections": 4, "attempts": 5, "outstanding": 1},
    {"connections": 4, "attempts": 1, "outstanding": 4},
]


@dataclass(frozen=True)
class Acquired:
    """An instance, and whose it is: each of two patients has a study."""

    sample: Sample
    patient: int
    letter: str

    @property
    def uid(self) -> str:
        return str(self.sample.sop_instance)


def _acquired(folder: Path) -> list[Acquired]:
    """Write small instances of two patients in turn, R in Explicit VR LE and J in JPEG baseline."""
    made, studies = [], (fresh_uid(), fresh_uid())
    for number, (letter, one) in enumerate(
        zip(ORDER * 2, small(folder, 2 * len(ORDER)), strict=True)
    ):
        patient, ds = number % 2, dcmread(one.path)
        ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = (
            f"{patient}",
            studies[patient],
            f"{studies[patient]}.1",
        )
        ds.file_meta.TransferSyntaxUID = syntax = SYNTAXES[letter]
        if letter == "J":
            del ds.PixelData  # nothing on the way decodes it
        ds.save_as(one.path, enforce_file_format=True)
        sample = Sample(
            one.title,
            one.path,
            studies[patient],
            one.series,
            one.sop_instance,
            one.sop_class,
            syntax,
        )
        made.append(Acquired(sample, patient, letter))
    return made


def _out_of_resources(event: Any, number: int) -> int:
    return 0xA700


def _aborts(event: Any, number: int) -> int:
    event.assoc.abort()
    return 0xC000


FAULTS = {"well": None, "full once": _out_of_resources, "aborts once": _aborts}
SOME = [
    *((settings, "well") for settings in SETTINGS),
    (SETTINGS[0], "full once"),
    (SETTINGS[3], "aborts once"),
]
CASES = [(settings, fault) for settings in SETTINGS for fault in FAULTS] if SOAK else SOME


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize(
    ("settings", "fault"),
    CASES,
    ids=lambda each: each if isinstance(each, str) else "-".join(map(str, each.values())),
)
def test_each_accepted_instance_arrives_once_in_order_with_its_attempts(
    site: Installation, tmp_path: Path, settings: dict[str, int], fault: str, run: int
) -> None:
    chain, acquired = Chain(site, f"S{fresh_uid()[-12:]}"), _acquired(tmp_path)
    archive = Archive()
    archive.accept(acquired[0].sample.sop_class, JPEGBaseline8Bit)
    failing = [FAULTS[fault]] if FAULTS[fault] else []
    archive.on_store = lambda event, number: (
        failing.pop()(event, number) if number == 3 and failing else 0
    )
    with archive.serving():
        pacs = chain.destination(f"selective-{fresh_uid()[-12:]}", archive.port, **settings)
        chain.rule(pacs)
        responses = Modality(site.port("imaging"), "SWALLOWTAIL", chain.calling_ae).send(
            [one.sample.path for one in acquired]
        )
        assert all(one.stored for one in responses)
        expected = {
            "dead-letter": sum(one.letter == "R" for one in acquired),
            "delivered": sum(one.letter == "J" for one in acquired),
        }
        chain.until(lambda: chain.states(pacs) == expected, seconds=90)
    accepted = [one for one in acquired if one.letter == "J"]
    assert sorted(archive.uids) == sorted(one.uid for one in accepted), "each once"
    for patient in (0, 1):
        mine = [one.uid for one in accepted if one.patient == patient]
        assert [uid for uid in archive.uids if uid in mine] == mine, "in order"
    if settings["connections"] == 1:
        assert archive.uids == [one.uid for one in accepted]
    _judge_histories(chain, pacs, acquired, failures=int(fault != "well"))


def _judge_histories(chain: Chain, pacs: str, acquired: list[Acquired], *, failures: int) -> None:
    """Check that each history has the one attempt of its instance, and the failed one before it
    where there was one.
    """
    histories = {
        one["payload"]["sop_instance"]: _outcomes(chain, one) for one in chain.deliveries(pacs)
    }
    for one in acquired:
        last, *earlier = histories[one.uid]
        assert last == (
            (None, "dead-letter", "context") if one.letter == "R" else ("0000", "delivered", None)
        )
        assert all(
            each in {("A700", "pending", "response"), (None, "pending", "response")}
            for each in earlier
        )
    assert sum(map(len, histories.values())) == len(acquired) + failures


def _outcomes(chain: Chain, delivery: dict[str, Any]) -> list[tuple[str | None, str, str | None]]:
    """Return how each attempt at a delivery ended, the newest first."""
    found = chain.site.rest.items(f"/api/v1/deliveries/{delivery['id']}/attempts")
    return [(one["status"], one["state"], one["phase"]) for one in found]
