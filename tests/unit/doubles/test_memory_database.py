"""The database in memory, as a resource of the tests' own process."""

import gc
import threading

import pytest

from tests.doubles.memory_database import CommittedRows


def test_rows_that_another_thread_collects_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    rows = [CommittedRows() for _ in range(3)]
    driver = rows[0].connection.connection.driver_connection

    def collect() -> None:
        rows.clear()
        gc.collect()

    thread = threading.Thread(target=collect)
    thread.start()
    thread.join()
    assert not caplog.records
    del driver
    gc.collect()
