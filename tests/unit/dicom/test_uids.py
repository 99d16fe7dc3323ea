"""The generated table of UIDs."""

import pytest
from pydicom.uid import UID

from swallowtail.dicom import uids
from swallowtail.dicom.uid_table import STORAGE_CLASSES, TRANSFER_SYNTAXES
from tools.generate_uids import TARGET, render


def test_the_table_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "run: python tools/generate_uids.py"


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.5.1.4.1.1.6.1",
        "1.2.840.10008.5.1.4.1.1.3.1",
        "1.2.840.10008.5.1.4.1.1.6",  # retired, still sent
        "1.2.840.10008.5.1.4.1.1.3",
        "1.2.840.10008.5.1.4.1.1.6.2",
        "1.2.840.10008.5.1.4.1.1.7.4",
        "1.2.840.10008.5.1.4.1.1.88.33",
        "1.2.840.10008.5.1.4.1.1.104.1",
        "1.2.840.10008.5.1.4.1.1.77.1.4.1",
    ],
)
def test_storage_classes_of_ultrasound_are_known(uid: str) -> None:
    assert uids.is_storage(uid)
    assert "Storage" in uids.name_of(uid)


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.1.1",
        "1.2.840.10008.5.1.4.31",
        "1.2.840.10008.1.3.10",
        "1.2.840.10008.1.2",
        "1.2.3",
    ],
)
def test_services_are_no_storage_classes(uid: str) -> None:
    assert not uids.is_storage(uid)


def test_transfer_syntaxes_are_pydicom_s() -> None:
    assert all(UID(uid).is_transfer_syntax for uid in TRANSFER_SYNTAXES)
    assert uids.is_transfer_syntax("1.2.840.10008.1.2.4.50")
    assert uids.is_transfer_syntax("1.2.840.10008.1.2.2"), "retired, still sent"
    assert not uids.is_transfer_syntax(uids.VERIFICATION)
    assert not uids.is_transfer_syntax("1.2.840.10008.1.2.6.2"), "no association carries XML"
    assert uids.name_of("1.2.840.10008.1.2.6.2") == "XML Encoding"


def test_an_unknown_uid_is_its_own_name() -> None:
    assert uids.name_of("1.2.3.4") == "1.2.3.4"
    assert len(STORAGE_CLASSES) > 150


@pytest.mark.parametrize(
    ("uid", "valid"),
    [
        ("1.2.3", True),
        ("1", True),
        ("1.02.3", True),  # forbidden by PS3.5 9.1, sent by some, harmless
        ("1" * 64, True),
        ("", False),
        ("1" * 65, False),
        ("../../x", False),
        ("1.2\n", False),
        ("1..2", False),
        (".1.2", False),
        ("1.2.", False),
        (".", False),
        ("\u0661.\u0662", False),
    ],
)
def test_validity_is_components_of_digits_and_length(uid: str, valid: bool) -> None:
    assert uids.is_valid(uid) is valid


def test_our_own_uid_is_legal() -> None:
    assert uids.is_valid(uids.IMPLEMENTATION_CLASS_UID)
    assert UID(uids.IMPLEMENTATION_CLASS_UID).is_valid
    assert len(uids.IMPLEMENTATION_VERSION_NAME) <= 16
