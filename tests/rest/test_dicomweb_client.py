"""DICOMweb against a client that we did not write.

What it stores it finds, and gets back byte by byte.
"""

import asyncio
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.data import get_testdata_file
from pydicom.encaps import get_frame
from pydicom.uid import generate_uid

from tests.rest.served import CloudProcess, eventually, hospital

CINE = Path(str(get_testdata_file("examples_ybr_color.dcm")))
PDF = b"%PDF" + bytes(70_000)
SLICE = Path(str(get_testdata_file("CT_small.dcm")))


@dataclass
class Site:
    """An organisation's client and what it has stored."""

    client: DICOMwebClient
    stranger: DICOMwebClient
    cine: pydicom.Dataset
    slices: list[pydicom.Dataset]


def client_of(cloud: CloudProcess, token: str) -> DICOMwebClient:
    session = requests.Session()
    session.trust_env = False  # a bundle of the environment would go before ours
    session.verify = str(cloud.ca)
    session.headers["Authorization"] = f"Bearer {token}"
    return DICOMwebClient(f"{cloud.url}/dicomweb", session=session)


@pytest.fixture(scope="module")
def site(served: CloudProcess) -> Iterator[Site]:
    clients = []
    for name in ("client", "stranger"):
        admin, _ = hospital(served, name)
        token = admin("POST", "tokens", {"name": "viewer", "role": "clinician"}, status=201)[
            "token"
        ]
        clients.append(client_of(served, token))
    cine, slices = pydicom.dcmread(CINE), []
    for number in range(3):
        data = pydicom.dcmread(SLICE)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.InstanceNumber = number + 1
        data.add_new(0x00420011, "OB", PDF)
        icon = pydicom.Dataset()
        icon.add_new(0x7FE00010, "OW", bytes(range(256)) * 16)
        data.IconImageSequence = [icon]
        slices.append(data)
    answer = clients[0].store_instances([cine, *slices])
    assert "FailedSOPSequence" not in answer
    assert len(answer.ReferencedSOPSequence) == 4

    async def indexed() -> None:
        await eventually(clients[0].search_for_instances, lambda found: len(found) == 4, 30)

    asyncio.run(indexed())
    yield Site(*clients, cine, slices)
    for client in clients:
        client._session.close()


def data_set(one: pydicom.Dataset) -> bytes:
    """Give a data set's bytes as a file of it holds them."""
    file = io.BytesIO()
    one.save_as(file, enforce_file_format=True)
    content = file.getvalue()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def test_every_level_is_searched(site: Site) -> None:
    client, study = site.client, str(site.slices[0].StudyInstanceUID)
    assert {one["0020000D"]["Value"][0] for one in client.search_for_studies()} == {
        study,
        str(site.cine.StudyInstanceUID),
    }
    assert (
        len(client.search_for_studies(search_filters={"PatientID": str(site.slices[0].PatientID)}))
        == 1
    )
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    assert len(client.search_for_series()) == 2
    assert len(client.search_for_series(study, search_filters={"Modality": "CT"})) == 1
    assert len(client.search_for_instances(study)) == 3
    assert (
        len(client.search_for_instances(study, str(site.slices[0].SeriesInstanceUID), limit=2)) == 2
    )
    assert (
        len(
            client.search_for_instances(
                search_filters={"InstanceNumber": "2", "StudyInstanceUID": study}
            )
        )
        == 1
    )


def test_what_was_stored_is_retrieved_as_it_was(site: Site) -> None:
    one = site.slices[0]
    place = (str(one.StudyInstanceUID), str(one.SeriesInstanceUID), str(one.SOPInstanceUID))
    assert len(site.client.retrieve_study(place[0], media_types=(("application/dicom", "*"),))) == 3
    assert (
        len(site.client.retrieve_series(*place[:2], media_types=(("application/dicom", "*"),))) == 3
    )
    back = site.client.retrieve_instance(*place, media_types=(("application/dicom", "*"),))
    assert data_set(back) == data_set(one)
    assert back.file_meta.TransferSyntaxUID == one.file_meta.TransferSyntaxUID


def test_metadata_say_what_the_data_set_says(site: Site) -> None:
    one = site.slices[1]
    place = (str(one.StudyInstanceUID), str(one.SeriesInstanceUID), str(one.SOPInstanceUID))
    reported = site.client.retrieve_instance_metadata(*place)
    assert reported["00100010"]["Value"][0]["Alphabetic"] == str(one.PatientName)
    assert reported["00280010"]["Value"] == [one.Rows]
    path = reported["7FE00010"]["BulkDataURI"].partition("/dicomweb")[
        2
    ]  # the client's Host header lacks the port
    (pixels,) = site.client.retrieve_bulkdata(site.client.base_url + path)
    assert pixels == one.PixelData
    assert (
        len(site.client.retrieve_study_metadata(place[0]))
        == len(site.client.retrieve_series_metadata(*place[:2]))
        == 3
    )


def test_instances_come_with_the_fields_that_are_asked_for(site: Site) -> None:
    one = site.slices[2]
    filters = {"SOPInstanceUID": str(one.SOPInstanceUID)}
    (plain,) = site.client.search_for_instances(search_filters=filters)
    (reported,) = site.client.search_for_instances(
        search_filters=filters, fields=["SliceThickness", "00080008", "BurnedInAnnotation"]
    )
    assert reported["00180050"]["Value"] == [float(one.SliceThickness)]
    assert reported["00080008"]["Value"] == list(one.ImageType)
    assert set(reported) - set(plain) == {"00180050", "00080008"}


def test_every_bulk_data_uri_of_the_metadata_answers(site: Site) -> None:
    one = site.slices[0]
    place = (str(one.StudyInstanceUID), str(one.SeriesInstanceUID), str(one.SOPInstanceUID))
    reported = site.client.retrieve_instance_metadata(*place)
    found = {
        tag: attribute["BulkDataURI"]
        for tag, attribute in reported.items()
        if "BulkDataURI" in attribute
    }
    nested = reported["00880200"]["Value"][0]["7FE00010"]["BulkDataURI"]
    assert set(found) >= {"7FE00010", "00420011"}
    for uri, expected in ((found["00420011"], PDF), (nested, one.IconImageSequence[0].PixelData)):
        path = uri.partition("/dicomweb")[2]
        (value,) = site.client.retrieve_bulkdata(site.client.base_url + path)
        assert value == expected
        (part,) = site.client.retrieve_bulkdata(site.client.base_url + path, byte_range=(4, 99))
        assert bytes(part) == expected  # the client accepts multipart alone, which is not ranged
        ranged = site.client._session.get(
            site.client.base_url + path,
            headers={"Accept": "application/octet-stream", "Range": "bytes=4-99"},
        )
        assert (ranged.status_code, ranged.content) == (206, expected[4:100])


def test_frames_are_those_of_the_file(site: Site) -> None:
    one = site.slices[0]
    place = (str(one.StudyInstanceUID), str(one.SeriesInstanceUID), str(one.SOPInstanceUID))
    (frame,) = site.client.retrieve_instance_frames(*place, frame_numbers=[1])
    assert frame == one.PixelData
    cine = (
        str(site.cine.StudyInstanceUID),
        str(site.cine.SeriesInstanceUID),
        str(site.cine.SOPInstanceUID),
    )
    jpeg = (("image/jpeg", "1.2.840.10008.1.2.4.50"),)
    several = site.client.retrieve_instance_frames(
        *cine, frame_numbers=[1, 7, 30], media_types=jpeg
    )
    expected = [
        get_frame(site.cine.PixelData, number - 1, number_of_frames=30) for number in (1, 7, 30)
    ]
    assert [part.rstrip(b"\0") for part in several] == [part.rstrip(b"\0") for part in expected]


def test_another_organisation_gets_nothing_of_it(site: Site) -> None:
    one = site.slices[0]
    place = (str(one.StudyInstanceUID), str(one.SeriesInstanceUID), str(one.SOPInstanceUID))
    assert site.stranger.search_for_instances() == []
    for act in (
        lambda: site.stranger.retrieve_instance_metadata(*place),
        lambda: site.stranger.retrieve_instance_frames(*place, frame_numbers=[1]),
        lambda: site.stranger.retrieve_instance(*place),
    ):
        with pytest.raises(requests.HTTPError, match="404"):
            act()
