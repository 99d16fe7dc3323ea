"""A real Link whose Cloud is restarted again and again.

It is back soon after the Cloud is ready.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swallowtail.sim.cloud_client import RestFailedError
from swallowtail.sim.installation import ANY_DEVICE, Installation, Listening
from swallowtail.wire.reconnect import ESTABLISHED_SECONDS
from tests.modes import SOAK, amount
from tests.programs import quiet, sound

RESTARTS = amount(2, 10)
BACK_WITHIN = 3.0
BACK_AT_LAST_WITHIN = 10.0
ALLOWED_LATE = 1
"""Of ten; the two of a fast test may not both be late."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path, listeners=[Listening("imaging", more=ANY_DEVICE)]) as site:
        yield site
        sound(site.programs)
    for program in site.programs:
        quiet(program.output)


def connected_since(site: Installation) -> float | None:
    """Return when the Link's session began, in UTC seconds; None while there is none."""
    try:
        session_state: Any = site.rest.json(f"/api/v1/links/{site.link_id}")["session"]
    except RestFailedError:
        return None
    return session_state["since"] if session_state["online"] else None


def established(site: Installation) -> bool:
    """Return whether the session is long enough to end a series of failures."""
    since = connected_since(site)
    return since is not None and time.time() - since > ESTABLISHED_SECONDS


def ready(site: Installation) -> bool:
    try:
        site.rest.fetch("/readyz")
    except RestFailedError:
        return False
    return True


def restart(site: Installation, *, kill: bool) -> float:
    """Restart the Cloud; returns the seconds from `/readyz` to the next session of the Link."""
    site.link.wait_until(lambda: established(site), seconds=30, what="an established session")
    if kill:
        site.cloud.kill()
    else:
        assert site.cloud.stop(seconds=20) == 0
    site.start_cloud()
    site.cloud.wait_until(lambda: ready(site), seconds=30, what="ready")
    began = time.monotonic()
    site.link.wait_until(lambda: connected_since(site) is not None, seconds=60, what="a session")
    return time.monotonic() - began


def test_link_is_back_soon_after_each_restart_of_the_cloud(site: Installation) -> None:
    waits = [restart(site, kill=number % 2 == 1) for number in range(RESTARTS)]
    late = [wait for wait in waits if wait > BACK_WITHIN]
    assert max(waits) <= BACK_AT_LAST_WITHIN, waits
    assert len(late) <= ALLOWED_LATE, waits
    if SOAK:
        print(f"back after {[round(wait, 2) for wait in waits]} s")
