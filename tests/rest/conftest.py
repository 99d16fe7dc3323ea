"""One Cloud for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgresql import PostgresqlServer
from tests.programs import quiet
from tests.rest.served import CloudProcess


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a module's tests on the databases that it names in DATABASES, by default on SQLite."""
    if "served" in metafunc.fixturenames:
        databases = getattr(metafunc.module, "DATABASES", ("sqlite",))
        metafunc.parametrize("served", databases, indirect=True, scope="module")


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CloudProcess]:
    """A Cloud on an empty folder; it has to stop cleanly, and its log may not know a patient."""
    folder: Path = tmp_path_factory.mktemp("cloud")
    options: list[str] = []
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql_server")
        options = ["--database-url", server.create().url.render_as_string()]
    cloud = CloudProcess(folder / "data", *options)
    yield cloud
    assert cloud.stop() == 0
    quiet(folder / "data.log")
    assert "Heron" not in (folder / "data.log").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _cloud_is_sound(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test under which the Cloud ends or logs an error is the one that fails, with its last
    lines.
    """
    yield
    if "served" in request.fixturenames:
        request.getfixturevalue("served").sound()
