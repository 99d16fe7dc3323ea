"""Whatever a program hands to the log, by whatever way, a canary in it is not in what comes out."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from hypothesis import given
from hypothesis import strategies as st

from swallowtail.runtime import log as logs

CANARY = "Heron^Ada"
log = structlog.get_logger()
around = st.text(max_size=20)
canaries = st.builds(lambda before, after: f"{before}{CANARY}{after}", around, around)
names = st.sampled_from(sorted(logs.ALLOWED - {"event"})) | st.text(min_size=1, max_size=20).filter(
    lambda name: name not in ("event", "_")
)
values = st.recursive(
    canaries | canaries.map(str.encode) | canaries.map(ValueError) | st.integers() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(canaries, inner) | st.tuples(inner, inner),
    max_leaves=5,
)
failures = st.builds(
    lambda kind, text: kind(text),
    st.sampled_from([ValueError, OSError, KeyError, UserWarning, SystemError]),
    canaries,
)


@contextmanager
def written() -> Iterator[io.StringIO]:
    root, config, stream = logging.root, structlog.get_config(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    logs.configure("debug", stream)
    try:
        yield stream
    finally:
        logging.captureWarnings(False)
        root.handlers[:], root.level = handlers, level
        structlog.configure(**config)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    assert CANARY not in stream.getvalue()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@given(fields=st.dictionaries(names, values, max_size=6), error=st.none() | failures)
def test_fields_and_exceptions(fields: dict[str, Any], error: Exception | None) -> None:
    with written() as stream:
        log.error(
            "commit failed",
            exc_info=error,
            **{name: value for name, value in fields.items() if name != "exc_info"},
        )
    (line,) = lines(stream)
    assert line["event"] == "commit failed"
    assert line.keys() <= logs.ALLOWED


@given(text=canaries, arguments=st.lists(values, max_size=3), error=st.none() | failures)
def test_records_of_libraries(text: str, arguments: list[Any], error: Exception | None) -> None:
    library = logging.getLogger("library")
    with written() as stream:
        library.error(text, *arguments, exc_info=error, extra={"patient": text})
        library.error("sent %s", *arguments, exc_info=error)
    assert [line["event"] for line in lines(stream)] == [logs.WITHHELD, "sent %s"]
