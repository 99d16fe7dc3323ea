"""The conformance page lists what a listener accepts."""

from swallowtail.dicom.uid_table import OTHER_TRANSFER_SYNTAXES, TRANSFER_SYNTAXES
from tools.generate_transfer_syntaxes import FOREIGN, PAGE, is_retired, main, page


def test_the_page_is_current():
    command = "python -m tools.generate_transfer_syntaxes"
    assert PAGE.read_text(encoding="utf-8") == page(), f"run: {command}"
    assert main(["--check"]) == 0


def test_every_syntax_is_listed_on_its_side():
    accepted, refused = page().split(FOREIGN.rstrip())
    assert all(f"| {uid} |" in accepted for uid in TRANSFER_SYNTAXES)
    assert all(f"| {uid} |" in refused for uid in OTHER_TRANSFER_SYNTAXES)


def test_retired_syntaxes_are_marked():
    assert is_retired("1.2.840.10008.1.2.2")
    assert "| 1.2.840.10008.1.2.2 | Explicit VR Big Endian | yes |" in page()
    assert not is_retired("1.2.840.10008.1.2.1")
