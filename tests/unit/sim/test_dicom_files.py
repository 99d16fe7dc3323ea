from pathlib import Path

import pytest
from pydicom import dcmread

from swallowtail.sim.dicom_files import PACKAGE, PATIENTS, ULTRASOUND, data_set_of, ultrasound_study


def test_a_study_is_the_real_pixels_of_an_invented_patient(tmp_path: Path) -> None:
    study = ultrasound_study(tmp_path, PATIENTS[1])
    assert len({sample.study for sample in study}) == 1
    assert len({sample.sop_instance for sample in study}) == len(study)
    for sample, name in zip(study, ULTRASOUND.values(), strict=True):
        sent, real = dcmread(sample.path), dcmread(PACKAGE / name)
        assert sent.PixelData == real.PixelData
        assert (sent.PatientName, sent.PatientID) == (PATIENTS[1].name, PATIENTS[1].number)
        assert str(real.get("PatientName", "nobody")).encode() not in sample.path.read_bytes()
        assert (
            sent.file_meta.TransferSyntaxUID
            == sample.transfer_syntax
            == real.file_meta.TransferSyntaxUID
        )


def test_every_call_makes_a_new_study(tmp_path: Path) -> None:
    first, second = ultrasound_study(tmp_path / "1")[0], ultrasound_study(tmp_path / "2")[0]
    assert first.study != second.study
    assert first.sop_instance != second.sop_instance


def test_the_data_set_begins_after_group_2(tmp_path: Path) -> None:
    sample = ultrasound_study(tmp_path)[0]
    assert sample.data_set()[:2] == b"\x08\x00"
    with pytest.raises(ValueError, match="not a Part 10 file"):
        data_set_of(sample.data_set())
