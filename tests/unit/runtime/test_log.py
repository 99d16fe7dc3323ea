"""The log says what happened and never to whom.

A canary patient is put wherever a program could let one slip.
"""

import asyncio
import enum
import errno
import gc
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from swallowtail.runtime import log as logs
from swallowtail.runtime.tasks import Tasks

CANARY = "Heron^Ada"
log = structlog.get_logger()


@pytest.fixture
def kept_set_up() -> Iterator[None]:
    """Put logging, structlog and the interpreter's hooks back as they were."""
    root = logging.root
    handlers, level, hooks = (
        root.handlers[:],
        root.level,
        (sys.excepthook, threading.excepthook, sys.unraisablehook),
    )
    config = structlog.get_config()
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.configure(**config)


@pytest.fixture
def written(kept_set_up: None) -> io.StringIO:
    stream = io.StringIO()
    logs.configure("info", stream)
    return stream


def only(written: io.StringIO) -> dict[str, Any]:
    (line,) = written.getvalue().splitlines()
    return json.loads(line)


class Phase(enum.Enum):
    NEGOTIATION = CANARY


def test_a_line_says_when_where_what(written: io.StringIO) -> None:
    log.info(
        "association accepted",
        peer="127.0.0.1:104",
        calling_ae="US 1",
        count=3,
        seconds=0.5,
        phase=Phase.NEGOTIATION,
        reason=None,
    )
    line = only(written)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "association accepted",
        "level": "info",
        "logger": __name__,
        "peer": "127.0.0.1:104",
        "calling_ae": "US 1",
        "count": 3,
        "seconds": 0.5,
        "phase": "NEGOTIATION",
        "reason": None,
    }


def test_a_reason_is_never_empty(written: io.StringIO) -> None:
    log.info("session closed", reason=str(ConnectionResetError()))
    assert only(written)["reason"] == "not given"


def test_a_field_that_is_not_listed_is_counted_and_its_name_and_value_stay_out(
    written: io.StringIO,
) -> None:
    log.info("stored", patient_name=CANARY, count=1, **{CANARY: 1})
    assert CANARY not in written.getvalue()
    assert "patient_name" not in written.getvalue()
    assert only(written)["dropped_fields"] == 2
    assert only(written)["count"] == 1


@pytest.mark.parametrize(
    "value",
    [
        CANARY,
        "MSH|~\\&",
        "1.2.826.0.1.3680043.8.498",
        "line\nbreak",
        "x" * 121,
        ["Ada"],
        {"name": "Ada"},
        b"Ada",
        SimpleNamespace(name="Ada"),
        type("Ada", (str,), {})("Ada"),
    ],
)
def test_a_listed_field_does_not_carry_what_a_patient_looks_like(
    value: object, written: io.StringIO
) -> None:
    log.info("refused", reason=value)
    line = only(written)
    assert "reason" not in line
    assert line["dropped_fields"] == 1


@pytest.mark.parametrize(
    "value",
    [
        "192.168.10.20:11112",
        "[fe80::1]:104",
        "gateway/uplink",
        "no presentation context was accepted",
        "A700",
    ],
)
def test_a_listed_field_carries_what_an_administrator_needs(
    value: str, written: io.StringIO
) -> None:
    log.info("refused", reason=value)
    assert only(written)["reason"] == value


@pytest.mark.parametrize(
    "say",
    [
        lambda text: log.info(f"patient {text}"),  # noqa: G004
        lambda text: log.info("patient %s", text),
        lambda text: log.info(text),  # noqa: PLW0108 - bound when it is called
        lambda text: logging.getLogger("library").warning(f"patient {text}"),  # noqa: G004
        logging.getLogger("library").warning,
        lambda text: logging.getLogger("library").warning(SimpleNamespace(text=text)),
    ],
)
def test_an_event_that_is_no_literal_is_withheld_and_its_place_named(
    say: Callable[[str], None], written: io.StringIO
) -> None:
    say(CANARY)
    line = only(written)
    assert CANARY not in written.getvalue()
    assert line["event"] == logs.WITHHELD
    assert line["source"].startswith("test_log.py:")


def test_a_librarys_record_keeps_its_template_and_loses_its_arguments(written: io.StringIO) -> None:
    logging.getLogger("library").error("%s sent %d objects", CANARY, 3, extra={"patient": CANARY})
    line = only(written)
    assert CANARY not in written.getvalue()
    assert (line["event"], line["level"], line["logger"]) == (
        "%s sent %d objects",
        "error",
        "library",
    )


def fail(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise OSError(errno.ENOSPC, text) from error


@pytest.mark.parametrize(
    "say",
    [
        lambda error: log.exception("commit failed"),  # noqa: LOG004
        lambda error: log.error("commit failed", exc_info=error),
        lambda error: log.error(
            "commit failed", exc_info=(type(error), error, error.__traceback__)
        ),
        lambda error: logging.getLogger("library").exception("commit failed"),  # noqa: LOG004
    ],
)
def test_an_exception_is_its_types_and_places(
    say: Callable[[Exception], None], written: io.StringIO
) -> None:
    try:
        fail(CANARY)
    except OSError as error:
        say(error)
    line = only(written)
    assert CANARY not in written.getvalue()
    assert line["event"] == "commit failed"
    assert line["error"] == "OSError[ENOSPC]"
    assert [entry.partition(":")[0] for entry in line["trace"]] == [
        "ValueError",
        "test_log.py",
        "OSError[ENOSPC]",
        "test_log.py",
        "test_log.py",
    ]
    assert line["trace"][-1].endswith(" fail")


def test_an_exception_group_names_its_members(written: io.StringIO) -> None:
    log.error(
        "several failed", exc_info=ExceptionGroup(CANARY, [ValueError(CANARY), KeyError(CANARY)])
    )
    assert CANARY not in written.getvalue()
    assert only(written)["trace"] == ["ValueError", "KeyError", "ExceptionGroup"]


def test_an_endless_chain_ends(written: io.StringIO) -> None:
    first, second = ValueError(CANARY), KeyError(CANARY)
    first.__cause__, second.__cause__ = second, first
    log.error("failed", exc_info=first)
    assert len(only(written)["trace"]) == 6


def test_an_error_field_takes_the_exception_itself(written: io.StringIO) -> None:
    log.info(
        "peer left", error=ConnectionResetError(errno.ECONNRESET, CANARY), peer=ValueError(CANARY)
    )
    assert CANARY not in written.getvalue()
    assert only(written)["error"] == "ConnectionResetError[ECONNRESET]"
    assert only(written)["dropped_fields"] == 1


async def test_a_failed_task_is_logged_without_its_message(written: io.StringIO) -> None:
    async with Tasks("link") as tasks:
        task = tasks.spawn(asyncio.to_thread(int, CANARY), name="modality")
        await asyncio.wait([task])
    assert CANARY not in written.getvalue()
    assert only(written)["task"] == "link/modality"
    assert only(written)["error"] == "ValueError"


async def test_asyncios_own_words_about_a_lost_future_are_withheld(written: io.StringIO) -> None:
    lost = asyncio.get_running_loop().create_future()
    lost.set_exception(ValueError(CANARY))
    del lost
    gc.collect()
    assert CANARY not in written.getvalue()
    assert only(written)["logger"] == "asyncio"
    assert only(written)["error"] == "ValueError"


def test_warnings_are_logged_without_their_text(written: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings._showwarning_orig = None  # type: ignore[attr-defined]
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn(CANARY, stacklevel=1)
    assert CANARY not in written.getvalue()
    assert only(written)["logger"] == "py.warnings"


class Finalized:
    def __del__(self) -> None:
        raise ValueError(CANARY)


def test_what_ends_a_thread_a_finalizer_or_the_program_is_logged_without_its_message(
    written: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.take_crashes()
    thread = threading.Thread(target=int, args=(CANARY,))
    thread.start()
    thread.join()
    Finalized()
    try:
        fail(CANARY)
    except OSError as error:
        sys.excepthook(OSError, error, error.__traceback__)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["error"] for line in lines] == ["ValueError", "ValueError", "OSError[ENOSPC]"]
    assert CANARY not in written.getvalue()
    assert CANARY not in "".join(capsys.readouterr())


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("warning", 0)])
def test_the_level_holds_for_both_and_libraries_stay_at_info(
    level: str, count: int, kept_set_up: None
) -> None:
    stream = io.StringIO()
    logs.configure(level, stream)
    for logger in (log, logging.getLogger("library")):
        logger.debug("fine")
        logger.info("coarse")
    assert len(stream.getvalue().splitlines()) == count


@pytest.mark.parametrize(
    "name",
    ["uvicorn", "uvicorn.error", "websockets.server", "asyncio", "concurrent", "sqlalchemy.engine"],
)
@pytest.mark.parametrize("when", ["before", "after", "never"])
def test_a_library_formats_nothing_at_debug(name: str, when: str, kept_set_up: None) -> None:
    """Whether it asks if debug is enabled, or has set a level of its own."""
    library, stream = logging.getLogger(name), io.StringIO()
    before = library.level
    try:
        if when == "before":
            library.setLevel(logging.DEBUG)
        logs.configure("debug", stream)
        if when == "after":
            library.setLevel(logging.DEBUG)
        else:
            assert not library.isEnabledFor(logging.DEBUG)
        library.debug("< GET /dicomweb/studies?PatientName=%s", CANARY)
        library.warning("coarse")
    finally:
        library.setLevel(before)
    assert only(stream)["event"] == "coarse"


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 1), ("info", 1), ("warning", 1), ("error", 0)]
)
def test_a_chatty_library_is_heard_when_it_warns(level: str, count: int, kept_set_up: None) -> None:
    stream = io.StringIO()
    logs.configure(level, stream)
    for name in ("debug", "info", "warning"):
        getattr(logging.getLogger("alembic.runtime.migration"), name)("Context impl %s.", CANARY)
    assert len(stream.getvalue().splitlines()) == count
    assert CANARY not in stream.getvalue()


def test_handlers_that_libraries_brought_are_removed(kept_set_up: None) -> None:
    own, stream = io.StringIO(), io.StringIO()
    library = logging.getLogger("library.with.handler")
    library.addHandler(logging.StreamHandler(own))
    library.propagate = False
    logs.configure("info", stream)
    library.warning("hello")
    assert own.getvalue() == ""
    assert only(stream)["event"] == "hello"


@pytest.mark.parametrize(
    ("json_asked", "starts"), [(None, "timestamp="), (True, "{"), (False, "timestamp=")]
)
def test_on_a_terminal_lines_are_key_value_unless_asked_otherwise(
    json_asked: bool | None, starts: str, kept_set_up: None
) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    logs.configure("info", stream, json=json_asked)
    log.info("started", patient=CANARY)
    assert stream.getvalue().startswith(starts)
    assert CANARY not in stream.getvalue()


class Full(io.StringIO):
    """A stream on a disk that is full for the first two lines."""

    left = 2

    def write(self, text: str) -> int:
        if self.left:
            self.left -= 1
            raise OSError(errno.ENOSPC, "full")
        return super().write(text)


def test_a_full_disk_costs_lines_and_the_next_one_counts_them(kept_set_up: None) -> None:
    stream = Full()
    logs.configure("info", stream)
    log.info("one")
    logging.getLogger("library").info("two")
    log.info("three")
    log.info("four")
    assert [json.loads(line).get("lost_lines") for line in stream.getvalue().splitlines()] == [
        2,
        None,
    ]


def test_a_closed_stream_stops_nobody(kept_set_up: None) -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    stream.close()
    log.info("nobody hears this")
