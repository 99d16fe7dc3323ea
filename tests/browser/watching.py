"""The requests of a page, their failures, and the pictures that its viewport has drawn."""

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
from playwright.sync_api import ConsoleMessage, Page, Request, Response

Picture = npt.NDArray[np.uint8]

SIZE = (160, 120)
"""Columns and rows to which pictures are scaled, whatever the window's size."""

_RECORD = """([columns, rows]) => {
  const viewport = window.cornerstone?.getRenderingEngines()?.[0]?.getViewports()?.[0];
  const image = viewport?.getImageData?.()?.imageData;
  if (!image) return false;
  if (window.drawn) return true;
  window.drawn = {};
  const small = document.createElement('canvas');
  [small.width, small.height] = [columns, rows];
  const context = small.getContext('2d', {willReadFrequently: true});
  context.imageSmoothingQuality = 'high';
  const keep = () => {
    const image = viewport.getImageData().imageData;
    const [width, height] = image.getDimensions();
    const scale = viewport.canvas.width / viewport.canvas.clientWidth;
    const corner = (x, y) => viewport.worldToCanvas(
      image.indexToWorld([x - 0.5, y - 0.5, 0])).map(one => one * scale);
    const [[left, top], [right, bottom]] = [corner(0, 0), corner(width, height)];
    context.drawImage(viewport.canvas, left, top, right - left, bottom - top, 0, 0, columns, rows);
    const bytes = context.getImageData(0, 0, columns, rows).data;
    window.drawn[viewport.getCurrentImageIdIndex()] = btoa(
      Array.from(bytes, one => String.fromCharCode(one)).join(''));
  };
  viewport.element.addEventListener('CORNERSTONE_IMAGE_RENDERED', keep);
  viewport.render();
  return true;
}"""
"""Keep, for each frame, what the viewport's canvas shows where the image lies."""


class Watched:
    """Listens to a page from its first request on."""

    def __init__(self, page: Page, origin: str) -> None:
        self._origin = origin
        self._wrong: list[str] = []
        page.on("request", self._asked)
        page.on("response", self._answered)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._wrong.append(f"uncaught: {error}"))

    def was_quiet(self) -> None:
        """Fail the test when a request left the viewer's origin or was refused, or the page
        reported an error.
        """
        assert not self._wrong, "\n".join(self._wrong)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self._origin, "data:", "blob:")):
            self._wrong.append(f"asks another host: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._wrong.append(f"{response.status}: {response.request.method} {response.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._wrong.append(f"console: {message.text}")


def record(page: Page) -> None:
    """Keep what the first viewport draws from now on, once it has an image."""
    page.wait_for_function(_RECORD, arg=list(SIZE))


def drawn(page: Page, *indices: int) -> dict[int, Picture]:
    """Wait until the frames with these indices (from 0) were drawn; return their pictures, RGB."""
    page.wait_for_function("wanted => wanted.every(one => one in window.drawn)", arg=list(indices))
    found: dict[str, Any] = page.evaluate("() => window.drawn")
    return {index: _pixels(found[str(index)]) for index in indices}


def likeness(one: Picture, other: Picture) -> float:
    """Give the correlation of two pictures over all pixels and colours.

    1 for the same, about 0 for unrelated ones.
    """
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _pixels(encoded: str) -> Picture:
    columns, rows = SIZE
    return np.frombuffer(base64.b64decode(encoded), dtype=np.uint8).reshape(rows, columns, 4)[
        ..., :3
    ]
