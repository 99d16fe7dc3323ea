"""The simulated PACS.

What it says it has is in its folder, in order, also after its plug was pulled.
"""

from pathlib import Path

from swallowtail.sim.archive import AE_TITLE, SimulatedArchive
from swallowtail.sim.dicom_files import ultrasound_study
from swallowtail.sim.modality import Modality


def test_what_it_got_is_there_in_order_after_a_kill_too(tmp_path: Path) -> None:
    first, second = ultrasound_study(tmp_path / "a")[1:3], ultrasound_study(tmp_path / "b")[1:2]
    archive = SimulatedArchive(tmp_path / "pacs")
    assert archive.instances() == []
    try:
        for samples in (first, second, second):
            archive.start()
            responses = Modality(archive.port, AE_TITLE).send([sample.path for sample in samples])
            assert [one.outcome for one in responses] == ["0000"] * len(samples)
            archive.kill()
    finally:
        archive.stop()
    expected = [(sample.sop_instance, sample.data_set()) for sample in (*first, *second, *second)]
    assert archive.instances() == expected


def test_it_is_called_by_its_name(tmp_path: Path) -> None:
    archive = SimulatedArchive(tmp_path)
    try:
        archive.start()
        assert Modality(archive.port, "ELSEWHERE").echo().outcome == "rejected (1,1,7)"
        assert archive.program is not None
        assert archive.program.stop() == 0
    finally:
        archive.stop()
