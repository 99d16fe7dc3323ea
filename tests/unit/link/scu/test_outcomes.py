"""The table of statuses, whole."""

from collections import Counter

from swallowtail.calls.deliver import About
from swallowtail.dicom.status import Category, category_of
from swallowtail.link.scu.outcomes import STATUSES, row_of


def test_every_status_has_its_row_and_a_failure_its_remedy():
    for status in range(0x10000):
        row = row_of(status)
        assert row.about is None or row.remedy
        delivered = category_of(status) in (Category.SUCCESS, Category.WARNING)
        assert (row.about is None) == delivered, f"{status:04X}"


def test_only_the_ranges_of_the_standard_are_about_the_destination():
    found = Counter(
        status >> 8 for status in range(0x10000) if row_of(status).about is About.DESTINATION
    )
    assert found == {0xA7: 256, 0x02: 255, 0xFE: 1}


def test_each_row_counts_somewhere():
    used = {id(row_of(status)) for status in range(0x10000)}
    assert {id(row) for row in STATUSES} == used
