"""Logs without patient data: JSON lines of listed fields and constant texts only.

Redaction by patterns misses formats. Here everything is left out but
- fields named in `ALLOWED`, whose values are numbers, enumeration members, and short texts not
  shaped like patient data,
- event texts that are literals in the calling source; an f-string, or the formatted text of a
  library, is withheld,
- of exceptions the types and the places, never the message: `int("Heron^Ada")` would quote the
  patient.

What was left out is counted (`dropped_fields`). Records of the standard library's `logging` pass
the same processors.
"""

import enum
import errno
import inspect
import logging
import re
import sys
import threading
from collections.abc import Iterator, MutableMapping
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

WITHHELD: Final = "(text withheld: not a literal of the source)"
NO_REASON: Final = "not given"

_EVENT = frozenset(
    {"event", "level", "logger", "timestamp"}
)  # written by the source, or by the processors below
# Closed sets, types and places.
_FAILURE = frozenset(
    {
        "error",
        "trace",
        "source",
        "phase",
        "status",
        "reason",
        "remedy",
        "dropped_fields",
        "lost_lines",
    }
)
# Names that an administrator configured, and numbers that we assign.
_CONFIGURED = frozenset(
    {"component", "destination", "endpoint", "link", "listener", "node", "tenant"}
)
_PART = (
    frozenset(
        {
            "alarm",
            "channel",
            "epoch",
            "kind",
            "pid",
            "release",
            "session",
            "state",
            "task",
            "version",
        }
    )
    | _CONFIGURED
)
# The peer machine; host, port and AE title identify no patient.
_PEER = frozenset({"peer", "host", "port", "calling_ae", "called_ae"})
_AMOUNT = frozenset({"bytes", "count", "seconds", "attempt", "limit", "sequence"})
_PROOF = frozenset({"digest"})  # of an audit record: an HMAC
_HTTP = frozenset(
    {"method", "route"}
)  # the route's template, never the path or the query: QIDO carries patients there
ALLOWED: Final = _EVENT | _FAILURE | _PART | _PEER | _AMOUNT | _PROOF | _HTTP

LEVELS: Final = ("debug", "info", "warning", "error")
_VERBOSE = ("alembic", "uvicorn")  # whose info lines repeat our own

_LONGEST_TEXT = 120
_PATIENT_LIKE = re.compile(
    r"[\^|~\\&\x00-\x1f\x7f]|\d+(?:\.\d+){5,}"
)  # HL7 and DICOM separators, control characters, UIDs
_MOST_ENTRIES = 40  # of one trace
_PACKAGE_ROOT = re.compile(r".*/(?:site-packages|dist-packages|src|lib/python3\.\d+)/")

Event = MutableMapping[str, Any]


def configure(
    level: str = "info", stream: TextIO | None = None, *, json: bool | None = None
) -> None:
    """Send structlog's and `logging`'s records to `stream` (default stderr).

    As JSON lines or, by default on a terminal, key=value.

    `level` is one of LEVELS; what a line may contain is the same at each. Libraries log at info
    and above, whatever it is: at debug, servers format whole requests and frames before a handler
    can leave anything out.

    Call it once, first, in a program's entry point, together with `take_crashes`. Libraries must
    not bring handlers of their own afterwards (uvicorn: `log_config=None`); those that are there
    already are removed.
    """
    lines = _Lines(stream or sys.stderr)
    as_json = not lines.stream.isatty() if json is None else json
    as_text = structlog.processors.KeyValueRenderer(
        key_order=["timestamp", "level", "event"], drop_missing=True
    )
    render: Processor = structlog.processors.JSONRenderer() if as_json else as_text
    number = logging.getLevelNamesMapping()[level.upper()]
    chain: list[Processor] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        permit,
        lines.account,
        render,
    ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *chain,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    of_libraries = max(number, logging.INFO)
    for name in list(logging.root.manager.loggerDict):
        known = logging.getLogger(name)
        known.handlers.clear()
        known.propagate = True
        if known.level:
            known.setLevel(max(known.level, of_libraries))
    for name in _VERBOSE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    foreign = _Foreign(chain, lines)
    foreign.setLevel(of_libraries)  # also for loggers that get a level of their own later
    logging.root.handlers[:] = [foreign]
    logging.root.setLevel(of_libraries)
    logging.captureWarnings(True)


def take_crashes() -> None:
    """Log uncaught exceptions of the program, of threads and of finalizers.

    The interpreter would print them with their messages.
    """
    log = structlog.get_logger()

    def program(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("program crashed", exc_info=(kind, error, trace))

    def thread(crashed: threading.ExceptHookArgs) -> None:
        if crashed.exc_value is not None and not isinstance(crashed.exc_value, SystemExit):
            log.critical("thread crashed", exc_info=crashed.exc_value)

    def finalizer(ignored: "sys.UnraisableHookArgs") -> None:
        log.error("unraisable exception raised", exc_info=ignored.exc_value or True)

    sys.excepthook = program
    threading.excepthook = thread
    sys.unraisablehook = finalizer


def permit(_: object, __: str, event: Event) -> Event:
    """Return the event with what may be rendered; everything else is counted."""
    exc_info = event.pop("exc_info", None)
    kept: Event = {}
    for name, value in event.items():
        if (
            name in ALLOWED
            and name not in ("event", "trace")
            and (name == "error" or not isinstance(value, BaseException))
        ):
            try:
                kept[name] = _value(value)
            except _NotPermittedError:
                continue
    if kept.get("reason") == "":
        kept["reason"] = NO_REASON  # some errors of the operating system have no text
    dropped = len(event) - len(kept) - ("event" in event)
    if (caller := _caller()) is not None:
        kept.setdefault("logger", caller.f_globals.get("__name__", "?"))
    kept["event"] = _literal(event.get("event"), caller)
    if kept["event"] is WITHHELD and caller is not None:
        kept["source"] = f"{_place(caller.f_code)}:{caller.f_lineno}"
    if (error := _exception(exc_info)) is not None:
        kept["error"] = _kind(error)
        kept["trace"] = list(_trace(error))[-_MOST_ENTRIES:]
    if dropped:
        kept["dropped_fields"] = dropped
    return kept


class _NotPermittedError(Exception):
    """A value that may be data of a patient."""


def _value(value: object) -> str | int | float | None:
    """Return the value if its type or shape excludes patient data.

    Nothing else is converted to text: a repr may quote anything.
    """
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or type(value) in (bool, int, float):
        return value  # type: ignore[return-value]
    if isinstance(value, BaseException):
        return _kind(value)
    if type(value) is str and len(value) <= _LONGEST_TEXT and not _PATIENT_LIKE.search(value):
        return value
    raise _NotPermittedError


def _caller() -> FrameType | None:
    """Return the frame that logged.

    The first one that is neither structlog's, nor logging's, nor ours.
    """
    frame = inspect.currentframe()
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module != __name__ and module.partition(".")[0] not in ("structlog", "logging"):
            return frame
        frame = frame.f_back
    return None


def _literal(text: object, caller: FrameType | None) -> str:
    """Return the event's text if it is a constant of the calling function: it contains no data."""
    if (
        caller is not None
        and type(text) is str
        and any(type(one) is str and one == text for one in caller.f_code.co_consts)
    ):
        return text
    return WITHHELD


def _exception(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exception() if exc_info else None


def _kind(error: BaseException) -> str:
    """Return the type's name, with the error code (ENOSPC) for errors of the operating system."""
    name = type(error).__name__
    number = getattr(error, "errno", None)
    return (
        f"{name}[{errno.errorcode[number]}]"
        if type(number) is int and number in errno.errorcode
        else name
    )


def _trace(error: BaseException, depth: int = 0) -> Iterator[str]:
    """Return the places of an exception and of its causes, oldest first.

    In the interpreter's order; without messages and local variables.
    """
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and depth < 5:
        yield from _trace(before, depth + 1)
    if isinstance(error, BaseExceptionGroup) and depth < 5:
        for one in error.exceptions[:5]:
            yield from _trace(one, depth + 1)
    yield _kind(error)
    places = []
    step = error.__traceback__
    while step is not None:
        places.append(
            f"{_place(step.tb_frame.f_code)}:{step.tb_lineno} {step.tb_frame.f_code.co_name}"
        )
        step = step.tb_next
    yield from places[-12:]


def _place(code: CodeType) -> str:
    """Return the file, from its package on, without the path of the installation."""
    name = code.co_filename.replace("\\", "/")
    short = _PACKAGE_ROOT.sub("", name)
    return short if short != name else name.rpartition("/")[2]


class _Lines:
    """The writer of rendered lines.

    A full disk or a closed pipe loses lines and does not fail the caller; the next line contains
    their number.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._lock = threading.Lock()
        self._lost = 0

    def account(self, _: object, __: str, event: Event) -> Event:
        if self._lost:
            event["lost_lines"] = self._lost
        return event

    def msg(self, line: str) -> None:
        with self._lock:
            try:
                self.stream.write(line + "\n")
                self.stream.flush()
                self._lost = 0
            except (OSError, ValueError):  # ValueError: the stream is closed
                self._lost += 1

    debug = info = warning = error = critical = exception = log = msg


class _Foreign(logging.Handler):
    """The handler that passes records of `logging` through the same processors.

    Their arguments and extras are data and are never read.
    """

    def __init__(self, chain: list[Processor], lines: _Lines) -> None:
        super().__init__()
        self._chain = chain
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        line: Any = {"event": record.msg, "level": record.levelname.lower(), "logger": record.name}
        if record.exc_info:
            line["exc_info"] = record.exc_info
        for processor in self._chain:
            line = processor(None, record.levelname.lower(), line)
        self._lines.msg(line)
