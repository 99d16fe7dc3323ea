from datetime import date, time

import pytest
from pydicom.dataset import Dataset

from swallowtail.cloud.data_set.elements import MalformedDataSetError
from swallowtail.cloud.index import attributes


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20260301", date(2026, 3, 1)),
        ("2026.03.01", date(2026, 3, 1)),
        ("20260231", None),
        ("2026", None),
        ("", None),
        ("yesterda", None),
    ],
)
def test_days(text: str, found: date | None) -> None:
    assert attributes.day(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("091530", time(9, 15, 30)),
        ("09", time(9)),
        ("0915", time(9, 15)),
        ("09:15:30", time(9, 15, 30)),
        ("091530.25", time(9, 15, 30, 250_000)),
        ("250000", None),
        ("", None),
        ("noon", None),
    ],
)
def test_times(text: str, found: time | None) -> None:
    assert attributes.clock(text) == found


def test_numbers_that_are_none_are_left_out() -> None:
    data = Dataset()
    data.InstanceNumber = 7
    data.SeriesNumber = None
    data.AcquisitionNumber = 2**31
    assert attributes.number(data, "AcquisitionNumber") is None
    assert (attributes.number(data, "InstanceNumber"), attributes.number(data, "SeriesNumber")) == (
        7,
        None,
    )
    assert attributes.number(data, "Rows") is None


def test_several_values_are_joined_and_padding_is_dropped() -> None:
    data = Dataset()
    data.StudyDescription = "Abdomen\0 "
    data.ReferringPhysicianName = ["Egret^E", "Ibis^I"]
    assert attributes.text(data, "StudyDescription") == "Abdomen"
    assert attributes.text(data, "ReferringPhysicianName") == "Egret^E\\Ibis^I"


def test_an_instance_without_study_is_malformed() -> None:
    with pytest.raises(MalformedDataSetError, match="StudyInstanceUID is missing"):
        attributes.study_of(Dataset())


def test_an_image_says_its_size_or_is_none() -> None:
    data = Dataset()
    data.Rows, data.Columns = 4, 5
    assert attributes.image_of(data) is None
    data.BitsAllocated = 8
    image = attributes.image_of(data)
    assert image is not None
    assert (image.frames, image.rows, image.columns, image.samples) == (1, 4, 5, 1)
