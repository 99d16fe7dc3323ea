"""Programs as child processes.

Each with its output in a file, a certain end, and a failure that shows its last words.

Used by the demo, the benchmark and the tests that need real servers. Synchronous on purpose: so are
the peers' libraries.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

TAIL: Final = 25
"""Lines of output that a failure shows."""
_PACE: Final = 0.02
_INSIST: Final = 30.0
_given: set[int] = set()
_lock = threading.Lock()


class ProgramFailedError(Exception):
    """A program could not be started, ended early, or did not become ready in time.

    The text carries its last lines.
    """


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on; this process gives none twice."""
    with _lock:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            if port not in _given:
                _given.add(port)
                return port


class Program:
    """A running child process in a session of its own.

    Call `stop` or use it as a context, which reports an end not asked for.

    Its children end when its end is noticed: the whole group is killed before the child is reaped,
    while its number cannot yet mean another process.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._asked = False  # to end: by us, or because its end is waited for
        self.argv = [str(word) for word in argv]
        self.output = folder / f"{name}.log"
        folder.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as output:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - argv is ours
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                )
            except OSError as error:
                raise ProgramFailedError(
                    f"{name} could not be started: {error} ({self.argv[0]})"
                ) from error
        self._end = os.pidfd_open(
            self._process.pid
        )  # readable once it has ended, without reaping it

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return not self._ended(0)

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal, None while it runs."""
        return self._process.returncode if self._ended(0) else None

    def _ended(self, seconds: float) -> bool:
        """Wait at most so long for its end; at its end, end its group too."""
        if self._process.returncode is not None:
            return True
        if not select.select([self._end], [], [], seconds)[0]:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._end)
        return True

    def text(self) -> str:
        """Return everything it has printed."""
        return self.output.read_text(errors="replace")

    def wait_until(self, ready: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Wait until `ready()` holds.

        Raises ProgramFailedError when the program ends before or time is over.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                raise self.failure(f"{what} did not happen within {seconds:g} s")
            if self._ended(_PACE):
                self._asked = True  # reported here
                raise self.failure(f"ended with {self.exit_code} before: {what}")

    def wait_for_port(self, port: int, *, seconds: float = 20.0) -> None:
        """Wait until a program accepts connections on `port` of 127.0.0.1."""
        self.wait_until(lambda: accepts(port), seconds=seconds, what=f"listening on port {port}")

    def wait(self, *, seconds: float) -> int:
        """Wait for its end and give the exit code.

        Raises ProgramFailedError when it is still there after `seconds`.
        """
        self._asked = True
        if not self._ended(seconds):
            raise self.failure(f"still runs after {seconds:g} s")
        return self._process.returncode

    def kill(self) -> None:
        """End it as a power cut would.

        SIGKILL, to it and to its children, without a chance to state goodbye.
        """
        if self.running:
            self._asked = True
            os.killpg(self.pid, signal.SIGKILL)
            self._ended(_INSIST)

    def stop(self, *, seconds: float = 10.0) -> int:
        """Ask it to end (SIGTERM), insist after `seconds`, and give its exit code."""
        if self.running:
            self.signal(signal.SIGTERM)
            if not self._ended(seconds):
                self.kill()
        return self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal that will end it."""
        self._asked = True
        signal.pidfd_send_signal(self._end, number)

    def early_end(self) -> ProgramFailedError | None:
        """Return the failure of a program that has ended without anybody asking for it.

        How, and its last lines.
        """
        return (
            None
            if self._asked or self.running
            else self.failure(f"ended by itself with {self.exit_code}")
        )

    def failure(self, what: str) -> ProgramFailedError:
        """Return the error that states what this program did wrong and shows its last lines."""
        lines = self.text().splitlines()[-TAIL:]
        shown = "\n".join(f"    {line}" for line in lines) or "    (it printed nothing)"
        return ProgramFailedError(f"{self.name} {what}; its last lines ({self.output}):\n{shown}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        leave([self], error)


def leave(programs: Sequence[Program], error: BaseException | None) -> None:
    """Stop programs at the end of a context.

    What has ended by itself is notified, beside the error that resulted or in its place.
    """
    ends = [end for program in programs if (end := program.early_end())]
    for program in programs:
        program.stop()
    if error is not None:
        for end in ends:
            error.add_note(str(end))
    elif ends:
        raise ends[0]


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether somebody accepts TCP connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0
