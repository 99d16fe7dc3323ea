"""Statuses by category, against pynetdicom's tables."""

from pynetdicom.status import GENERAL_STATUS, STORAGE_SERVICE_CLASS_STATUS, code_to_category

from swallowtail.dicom.status import Category, Status, category_of, describe


def test_categories_are_pynetdicom_s() -> None:
    codes = {*GENERAL_STATUS, *STORAGE_SERVICE_CLASS_STATUS, 0xFF00, 0xFF01, 0xFE00}
    assert {code: category_of(code).value for code in codes} == {
        code: code_to_category(code).lower() for code in codes
    }


def test_what_nobody_knows_is_a_failure() -> None:
    assert category_of(0x4242) is Category.FAILURE
    assert describe(0x4242) == "4242 not named here (failure)"
    assert describe(Status.OUT_OF_RESOURCES) == "A700 out of resources (failure)"
    assert describe(0xB007) == "B007 data set warning (warning)"
