"""Images of real devices, in the ways in which ultrasound systems store them, and what a viewer
should show of them.
"""

import io
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_windowing, pixel_array
from pydicom.uid import MPEG4HP41, RLELossless, VideoEndoscopicImageStorage, generate_uid

from tests.browser.watching import SIZE, Picture
from tests.rest.served import Api

FAMILY = "Heron"
BOUNDARY = "between-images"
RLE_FRAMES = 3
INDEXED_WITHIN = 60.0


@dataclass(frozen=True)
class Stored:
    """One instance, alone in its study."""

    name: str
    data: pydicom.Dataset

    @property
    def study(self) -> str:
        return str(self.data.StudyInstanceUID)

    @property
    def shown_name(self) -> str:
        """The patient, as OHIF writes names."""
        return f"{FAMILY}, {self.name}"

    def pictures(self) -> list[Picture]:
        """Decode every frame, put it through palette or window, and scale it as a recorded picture
        is.
        """
        file = io.BytesIO()
        self.data.save_as(file, enforce_file_format=True)
        file.seek(0)
        pixels = pixel_array(file)
        frames = pixels if int(self.data.get("NumberOfFrames", 1)) > 1 else pixels[np.newaxis]
        return [self._picture(frame) for frame in frames]

    def _picture(self, frame: npt.NDArray[Any]) -> Picture:
        if self.data.PhotometricInterpretation == "PALETTE COLOR":
            frame = apply_color_lut(frame, self.data) // 256
        elif frame.ndim == 2:
            frame = _windowed(frame, self.data)
        image = Image.fromarray(frame.astype(np.uint8)).convert("RGB")
        return np.asarray(image.resize(SIZE, Image.Resampling.BOX))


def made() -> list[Stored]:
    """Read pydicom's files, each as the study of an invented patient."""
    files = {
        "Cine": "examples_ybr_color.dcm",  # 30 frames of JPEG baseline, YBR_FULL_422
        "Doppler": "examples_rgb_color.dcm",
        "Palette": "examples_palette.dcm",
        "Jpegtwothousand": "examples_jpeg2k.dcm",
        "Magnet": "MR_small_RLE.dcm",
        "Slice": "CT_small.dcm",
    }
    found = [
        Stored(name, _renamed(name, pydicom.dcmread(str(get_testdata_file(file)))))
        for name, file in files.items()
    ]
    return [*found, Stored("Runlength", _run_length())]


def store(api: Api, stored: list[Stored]) -> None:
    """Upload, and wait until all of it can be found."""
    body, media = _stow(stored)
    answer = api.http.post("/dicomweb/studies", content=body, headers={"Content-Type": media})
    assert answer.status_code == 200, answer.text
    deadline = time.monotonic() + INDEXED_WITHIN
    while any(
        not api("GET", "instances", state="indexed", study=one.study)["items"] for one in stored
    ):
        assert time.monotonic() < deadline, (
            f"not everything was indexed within {INDEXED_WITHIN:g} s"
        )


def video(mp4: bytes) -> Stored:
    """Give an endoscopic video in MPEG-4 (PS3.5 A.4.6).

    One fragment, whatever the number of frames.
    """
    data = _renamed("Video", pydicom.dcmread(str(get_testdata_file("examples_rgb_color.dcm"))))
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = VideoEndoscopicImageStorage
    data.file_meta.TransferSyntaxUID = MPEG4HP41
    data.Modality, data.PhotometricInterpretation, data.NumberOfFrames, data.FrameTime = (
        "ES",
        "YBR_PARTIAL_420",
        20,
        "66",
    )
    data.PixelData = encapsulate([mp4], has_bot=False)
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    return Stored("Video", data)


def _stow(stored: list[Stored]) -> tuple[bytes, str]:
    """Give the body of one STOW-RS request and its media type (PS3.18 10.5)."""
    parts = []
    for one in stored:
        file = io.BytesIO()
        one.data.save_as(file, enforce_file_format=True)
        parts.append(
            f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            + file.getvalue()
            + b"\r\n"
        )
    return (
        b"".join(parts) + f"--{BOUNDARY}--\r\n".encode(),
        f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
    )


def _renamed(name: str, data: pydicom.Dataset) -> pydicom.Dataset:
    data.PatientName, data.PatientID = f"{FAMILY}^{name}", f"bird-{name}"
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return data


def _run_length() -> pydicom.Dataset:
    """Make what no sample is, an ultrasound cine in RLE and RGB, of frames of the one in JPEG."""
    source = str(get_testdata_file("examples_ybr_color.dcm"))
    data = _renamed("Runlength", pydicom.dcmread(source))
    frames = pixel_array(source)[:RLE_FRAMES]
    data.PhotometricInterpretation, data.NumberOfFrames, data.PlanarConfiguration = (
        "RGB",
        RLE_FRAMES,
        0,
    )
    data.set_pixel_data(frames, "RGB", 8, generate_instance_uid=False)
    data.compress(RLELossless, generate_instance_uid=False)
    return data


def _windowed(frame: npt.NDArray[Any], data: pydicom.Dataset) -> npt.NDArray[Any]:
    """PS3.3 C.11.2.1.2: its window, or all of its range where it has none."""
    shown = (
        apply_windowing(frame, data).astype(float)
        if "WindowCenter" in data
        else frame.astype(float)
    )
    return 255 * (shown - shown.min()) / (shown.max() - shown.min())
