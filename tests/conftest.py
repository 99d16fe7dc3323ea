"""What holds for every test.

Hypothesis profiles, slow tests only in a soak, and an ERROR in the log is a failure.
"""

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.modes import SOAK
from tests.postgresql import PostgresqlServer, running_server

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=100, print_blob=True)
settings.register_profile(
    "soak",
    deadline=None,
    max_examples=5_000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("soak" if SOAK else "ci")

WATCHED = (
    "asyncio",
    "swallowtail",
)  # foreign loggers whose errors are ours to prevent: a lost task, an exception in a callback


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests to `make soak`, unless they were asked for (`-m slow`, or by name)."""
    named = any("::" in argument for argument in config.args)
    if SOAK or named or "slow" in (config.option.markexpr or ""):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server with a template of the Cloud's tables, for the whole session."""
    with running_server() as server:
        yield server


class _Errors(logging.Handler):
    """Collects what was logged as an error, by us or by a watched library."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []
        self.expected = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] in WATCHED:
            self.seen.append(f"{record.name}: {record.getMessage()}")

    def processor(
        self, _: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        if method in ("error", "exception", "critical"):
            self.seen.append(str(event))
        return event


@pytest.fixture(autouse=True)
def _errors() -> Iterator[_Errors]:
    """An ERROR log record that the test did not expect fails it (`logged_errors`, or structlog's
    `capture_logs`, expects them).
    """
    errors = _Errors()
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[errors.processor, *before])
    logging.getLogger().addHandler(errors)
    try:
        yield errors
    finally:
        logging.getLogger().removeHandler(errors)
        structlog.configure(processors=before)
    if errors.seen and not errors.expected:
        pytest.fail(
            "logged as an error, and the test does not expect it:\n" + "\n".join(errors.seen),
            pytrace=False,
        )


@pytest.fixture
def logged_errors(_errors: _Errors) -> list[str]:
    """The errors logged so far, for a test that provokes some.

    Look at them, for nothing else does.
    """
    _errors.expected = True
    return _errors.seen
