"""One Cloud for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rest.served import CloudProcess


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """A Cloud on an empty folder; it has to stop cleanly, and its log may not know a patient."""
    folder: Path = tmp_path_factory.mktemp("cloud")
    cloud = CloudProcess(folder / "data")
    yield cloud
    assert cloud.stop() == 0
    log = (folder / "data.log").read_text(encoding="utf-8")
    assert "Heron" not in log
    assert '"level": "error"' not in log
