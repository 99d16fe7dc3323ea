"""The document of `swallowtail cloud apply`.

It is refused, each problem with its line, or it is a hospital.
"""

from swallowtail.cli.hospital import Hospital, InvalidHospitalError, read
from tests.fuzz.fuzz_policy import MAX_LENGTH


def check(data: bytes) -> None:
    """Read."""
    try:
        hospital = read(data[:MAX_LENGTH].decode(errors="replace"))
    except InvalidHospitalError:
        return
    assert isinstance(hospital, Hospital)
    assert all(
        link.facility in {facility.name for facility in hospital.facility} for link in hospital.link
    )
