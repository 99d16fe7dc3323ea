import io

import pydicom
import pytest

from swallowtail.cloud.query.part10 import header

IMPLICIT = "1.2.840.10008.1.2"
DATA_SET = b"\x10\x00\x10\x00\x0a\x00\x00\x00Heron^Ada "  # (0010,0010) in Implicit VR


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.33"])
def test_pydicom_reads_the_header_back(uid: str) -> None:
    head = header(
        "1.2.840.10008.5.1.4.1.1.6.1", uid, IMPLICIT, sending_ae="SONO1", receiving_ae="SWALLOW"
    )
    data = pydicom.dcmread(io.BytesIO(head + DATA_SET))
    meta = data.file_meta
    assert (data.PatientName, data.preamble) == ("Heron^Ada", bytes(128))
    assert (meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID) == (uid, IMPLICIT)
    assert (meta.SendingApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == (
        "SONO1",
        "SWALLOW",
    )
    assert meta.FileMetaInformationVersion == b"\x00\x01"
    assert meta.FileMetaInformationGroupLength == len(head) - 144


def test_titles_that_are_not_known_are_left_out() -> None:
    data = pydicom.dcmread(io.BytesIO(header("1.2", "1.3", IMPLICIT)))
    assert "SendingApplicationEntityTitle" not in data.file_meta
