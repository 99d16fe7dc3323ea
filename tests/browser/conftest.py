"""One Cloud with images, OHIF in front of it, and a browser that accepts only the viewer's key."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import images, ohif
from tests.browser.watching import Watched
from tests.programs import quiet
from tests.rest.served import CloudProcess, hospital

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)
"""It asks nothing of its maker's hosts."""
SOFTWARE = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
"""WebGL without a graphics card; its sandbox does not start as root."""


@pytest.fixture(scope="session", autouse=True)
def _programs_are_here() -> None:
    for program, package in ((CHROMIUM, "chromium"), (ohif.NGINX, "nginx-light")):
        assert shutil.which(program), (
            f"{program} is missing; `make test` installs it (apt install {package})"
        )
    ohif.pages()


@pytest.fixture(scope="session")
def stored() -> list[images.Stored]:
    return images.made()


@pytest.fixture(scope="session")
def viewer(
    tmp_path_factory: pytest.TempPathFactory, stored: list[images.Stored]
) -> Iterator[ohif.Viewer]:
    """Cloud and viewer with everything stored and indexed.

    Both have to end cleanly, and the Cloud's log may not know a patient.
    """
    folder: Path = tmp_path_factory.mktemp("hospital")
    cloud = CloudProcess(folder / "data")
    admin, _ = hospital(cloud, "clinic")
    token = admin("POST", "tokens", {"name": "viewer", "role": "clinician"}, status=201)["token"]
    served = ohif.start(cloud, token, folder / "nginx")
    images.store(served.api, stored)
    yield served
    assert served.program.early_end() is None, served.program.failure("ended by itself")
    served.program.stop()
    assert cloud.stop() == 0
    quiet(folder / "data.log")
    assert images.FAMILY not in (folder / "data.log").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def browser(viewer: ohif.Viewer) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        pinned = f"--ignore-certificate-errors-spki-list={viewer.key}"
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*QUIET, *SOFTWARE, pinned]
        )
        yield started
        started.close()


@pytest.fixture
def page(
    browser: Browser, viewer: ohif.Viewer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """A page of somebody who has signed in at the viewer.

    Whatever it could not load or complained of fails the test.
    """
    credentials = {"username": ohif.USER, "password": ohif.PASSWORD}
    context = browser.new_context(
        base_url=viewer.url, http_credentials=credentials, viewport={"width": 1280, "height": 900}
    )
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    watched = Watched(opened, viewer.url)
    yield opened
    opened.screenshot(path=tmp_path / f"{request.node.name}.png")
    context.close()
    watched.was_quiet()
