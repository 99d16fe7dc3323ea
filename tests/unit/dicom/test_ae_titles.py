"""Which AE titles are valid, and when two are the same."""

import pytest

from swallowtail.dicom import ae_titles


@pytest.mark.parametrize("title", ["A", "CT 1", " CT1", "CT1 ", "!~[]{}", "ABCDEFGHIJKLMNOP", "0"])
def test_the_default_repertoire_is_valid(title):
    assert ae_titles.is_valid(title)


@pytest.mark.parametrize(
    "title",
    [
        "",
        " ",
        " " * 16,
        "A\\B",
        "A\nB",
        "\x1b",
        "CT1\0X",
        "CT1\x7f",
        "CT1\t",
        "Küche",
        "A" * 17,
        "\r",
    ],
)
def test_what_ps3_5_forbids_is_not(title):
    assert not ae_titles.is_valid(title)


def test_spaces_around_a_title_have_no_meaning_and_nothing_else():
    assert ae_titles.significant("  CT 1 ") == "CT 1"
    assert ae_titles.significant("CT1\n") == "CT1\n"
