"""OHIF lists, opens and plays what is stored.

What its viewport draws is held against the frames as pydicom decodes them.
"""

import base64
import re

import httpx2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser import ohif
from tests.browser.images import Stored, store, video
from tests.browser.watching import drawn, likeness, record

ALIKE = 0.97
"""Two scalings of one frame correlate more than this, small letters included.

Two samples less than 0.2.
"""
FRAME = re.compile(r"/frames/\d+$")


FILM = """async () => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [320, 240];
  const context = canvas.getContext('2d');
  const options = {mimeType: 'video/mp4;codecs=avc1.42E01E'};
  const recorder = new MediaRecorder(canvas.captureStream(15), options);
  const parts = [];
  recorder.ondataavailable = event => parts.push(event.data);
  const stopped = new Promise(resolve => recorder.onstop = resolve);
  recorder.start();
  for (let number = 0; number < 20; number++) {
    context.fillStyle = '#e01010';
    context.fillRect(0, 0, 320, 240);
    context.fillStyle = 'white';
    context.fillRect(number * 10, 50, 40, 40);
    await new Promise(resolve => setTimeout(resolve, 66));
  }
  recorder.stop();
  await stopped;
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return btoa(Array.from(bytes, one => String.fromCharCode(one)).join(''));
}"""
"""A second of a white square that crosses a red field, which the browser encodes in H.264."""
RED = """() => {
  const canvas = document.querySelector('.cornerstone-canvas');
  if (!canvas) return false;
  const drawn = canvas.getContext('2d');
  const pixel = drawn.getImageData(canvas.width / 2, canvas.height * 0.7, 1, 1);
  const [red, green, blue] = pixel.data;
  return red > 180 && green < 70 && blue < 70;
}"""


def by_name(stored: list[Stored], name: str) -> Stored:
    return next(one for one in stored if one.name == name)


def open_viewer(page: Page, one: Stored) -> None:
    page.goto(f"/viewer?StudyInstanceUIDs={one.study}")
    record(page)


def skip_tour(page: Page) -> None:
    """Close what OHIF shows to somebody who sees it for the first time."""
    page.get_by_text("Skip all").click()
    page.get_by_role("button", name="Confirm and hide").click()


def test_the_study_list_shows_and_finds_every_study(page: Page, stored: list[Stored]) -> None:
    page.goto("/")
    for one in stored:
        expect(page.get_by_text(one.shown_name)).to_be_visible()
    page.get_by_role("textbox").first.fill("heron, pal")
    expect(page.get_by_text("Heron, Cine")).to_be_hidden()
    expect(page.get_by_text("Heron, Palette")).to_be_visible()


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("modalities=MR,CT", {"Magnet", "Slice"}),
        ("startDate=20110101&endDate=20111231", {"Palette"}),
        ("mrn=bird-M", {"Magnet"}),
        ("description=e%2B1", {"Slice"}),
    ],
)
def test_the_study_list_is_filtered(
    page: Page, stored: list[Stored], asked: str, names: set[str]
) -> None:
    page.goto(f"/?{asked}")
    for one in stored:
        shown = expect(page.get_by_text(one.shown_name))
        shown.to_be_visible() if one.name in names else shown.to_be_hidden()
    expect(page.get_by_text(f"1-{len(names)} of {len(names)}")).to_be_visible()


@pytest.mark.parametrize(
    "name", ["Doppler", "Palette", "Jpegtwothousand", "Magnet", "Slice", "Runlength"]
)
def test_an_image_is_shown_as_it_is(page: Page, stored: list[Stored], name: str) -> None:
    one = by_name(stored, name)
    open_viewer(page, one)
    expected = one.pictures()[0]
    shown = drawn(page, 0)[0]
    assert likeness(shown, expected) > ALIKE
    saturation = [int(np.ptp(picture.astype(int), axis=2).max()) for picture in (shown, expected)]
    assert abs(saturation[0] - saturation[1]) < 40  # a correlation alone would take grey for colour


def test_a_cine_plays_every_frame(page: Page, stored: list[Stored]) -> None:
    one = by_name(stored, "Cine")
    expected = one.pictures()
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if FRAME.search(request.url) else None
    )
    page.goto("/")
    page.get_by_text(one.shown_name).dblclick()
    record(page)
    skip_tour(page)
    assert likeness(drawn(page, 0)[0], expected[0]) > ALIKE

    page.locator(".cornerstone-canvas").first.hover()
    page.mouse.wheel(0, 100)
    assert likeness(drawn(page, 1)[1], expected[1]) > ALIKE

    page.locator("[data-cy=cine-player-play-pause]").click()
    shown = drawn(page, *range(30))
    for index, picture in shown.items():
        likest = max(likeness(picture, frame) for frame in expected)
        assert likeness(picture, expected[index]) == pytest.approx(likest, abs=1e-4), (
            f"frame {index + 1}"
        )
        assert likest > ALIKE
    assert len({picture.tobytes() for picture in shown.values()}) == len(
        {frame.tobytes() for frame in expected}
    )
    page.evaluate("window.drawn = {}")
    known = len(asked)
    drawn(page, *range(30))
    assert len(asked) == known, "a second round fetches frames again"


def test_a_video_is_shown(page: Page, viewer: ohif.Viewer) -> None:
    page.goto("about:blank")
    film = video(base64.b64decode(page.evaluate(FILM)))
    store(viewer.api, [film])
    page.goto(f"/viewer?StudyInstanceUIDs={film.study}")
    page.wait_for_function(RED)


def test_the_way_to_the_images_is_only_for_those_who_signed_in_and_only_for_reading(
    viewer: ohif.Viewer,
) -> None:
    with httpx2.Client(base_url=viewer.url, verify=viewer.trust(), trust_env=False) as client:
        assert [client.get(path).status_code for path in ("/", "/dicomweb/studies")] == [401, 401]
        client.auth = ohif.USER, ohif.PASSWORD
        assert client.get("/dicomweb/studies").status_code == 200
        assert [
            client.request(method, "/dicomweb/studies").status_code
            for method in ("POST", "PUT", "DELETE")
        ] == [403] * 3


def test_links_to_bulk_data_lead_through_the_viewer(
    viewer: ohif.Viewer, stored: list[Stored]
) -> None:
    one = by_name(stored, "Doppler")
    with httpx2.Client(
        base_url=viewer.url, verify=viewer.trust(), auth=(ohif.USER, ohif.PASSWORD), trust_env=False
    ) as client:
        (metadata,) = client.get(f"/dicomweb/studies/{one.study}/metadata").json()
        link = metadata["7FE00010"]["BulkDataURI"]
        assert link.startswith(f"{viewer.url}/dicomweb/studies/{one.study}/")
        assert one.data.PixelData in client.get(link).content
