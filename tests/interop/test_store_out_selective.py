"""A destination that accepts JPEG baseline and refuses Explicit VR LE, with real processes: each arrives once, in order.

Nothing else is wrong with it. What it refuses is behind, before and between what it accepts.
"""

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from swallowtail.sim.files import Sample, fresh_uid
from swallowtail.sim.installation import Installation
from swallowtail.sim.modality import Modality
from tests.interop.chain import Archive, Chain, small
from tests.modes import amount

SYNTAXES = {"R": ExplicitVRLittleEndian, "J": JPEGBaseline8Bit}
ORDER = "RJJRJJ"
RUNS = amount(1, 5)
"""Of each of the four settings."""


def _samples(folder: Path, order: str) -> list[Sample]:
    """Write small instances of one study, R in Explicit VR LE and J in JPEG baseline."""
    made = []
    for letter, sample in zip(order, small(folder, len(order)), strict=True):
        ds = dcmread(sample.path)
        ds.file_meta.TransferSyntaxUID = syntax = SYNTAXES[letter]
        if letter == "J":
            del ds.PixelData  # nothing on the way decodes it
        ds.save_as(sample.path, enforce_file_format=True)
        made.append(Sample(sample.title, sample.path, sample.study, sample.series, sample.sop_instance, sample.sop_class, syntax))
    return made


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize(("attempts", "outstanding"), [(1, 1), (2, 1), (5, 1), (1, 4)])
def test_each_accepted_instance_arrives_once_in_order_with_its_attempt(
    site: Installation, tmp_path: Path, attempts: int, outstanding: int, run: int
) -> None:
    name = f"selective-{attempts}-{outstanding}-{run}"
    chain, samples = Chain(site, f"S{fresh_uid()[-12:]}"), _samples(tmp_path, ORDER)
    archive = Archive()
    archive.accept(samples[0].sop_class, JPEGBaseline8Bit)
    with archive.serving():
        pacs = chain.destination(name, archive.port, attempts=attempts, outstanding=outstanding)
        chain.rule(pacs)
        heard = Modality(site.port("imaging"), "SWALLOWTAIL", chain.calling_ae).send([one.path for one in samples])
        assert all(one.stored for one in heard)
        chain.until(lambda: chain.states(pacs) == {"dead": ORDER.count("R"), "delivered": ORDER.count("J")}, seconds=90)
    accepted = [str(one.sop_instance) for one, letter in zip(samples, ORDER, strict=True) if letter == "J"]
    assert archive.uids == accepted
    assert {one["sop_instance"]: _outcomes(chain, one) for one in chain.deliveries(pacs)} == {
        str(one.sop_instance): [(None, "dead", "context")] if letter == "R" else [("0000", "delivered", None)]
        for one, letter in zip(samples, ORDER, strict=True)
    }


def _outcomes(chain: Chain, delivery: dict[str, Any]) -> list[tuple[str | None, str, str | None]]:
    """Return how each attempt at a delivery ended."""
    found = chain.site.rest.items(f"/api/v1/deliveries/{delivery['id']}/attempts")
    return [(one["status"], one["state"], one["phase"]) for one in found]
