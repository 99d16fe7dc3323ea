"""A PACS on pynetdicom, a peer that we did not write.

It keeps every data set as it came, in files numbered in their order.

    python -m swallowtail.sim.archive --ae PACS --port 11112 --folder received

It answers 0000 once the file is there, so that what it counts as received it has. A power cut is
`Program.kill`.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pynetdicom import AE, AllStoragePresentationContexts, _config, evt

from swallowtail.sim.installation import with_source
from swallowtail.sim.processes import Program, free_port

_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False

AE_TITLE: Final = "PACS"
VERIFICATION: Final = "1.2.840.10008.1.1"
ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
SYNTAXES: Final = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.90",  # JPEG 2000, lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
)


class SimulatedArchive:
    """The PACS as a program of its own; `start` it again after a `kill` and it has what it had."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.received = folder / "received"
        self.program: Program | None = None

    def start(self) -> None:
        """Run until it accepts connections."""
        argv: list[str | Path] = [
            sys.executable,
            "-m",
            "swallowtail.sim.archive",
            "--port",
            str(self.port),
        ]
        argv += ["--folder", self.received]
        self.program = Program("pacs", argv, folder=self.folder, environment=with_source({}))
        self.program.wait_for_port(self.port)

    def kill(self) -> None:
        """Pull its plug."""
        if self.program is not None:
            self.program.kill()

    def stop(self) -> None:
        """End it."""
        if self.program is not None:
            self.program.stop()

    def instances(self) -> list[tuple[str, bytes]]:
        """Return every received SOP Instance UID with its data set, in order."""
        files = (
            sorted(path for path in self.received.iterdir() if path.suffix == ".dataset")
            if self.received.is_dir()
            else []
        )
        return [
            (path.name.removesuffix(".dataset").partition("-")[2], path.read_bytes())
            for path in files
        ]


def keep(event: Any, folder: Path) -> int:
    """Write one data set.

    The name reports its place in the order, and appears when the file is complete.
    """
    number = sum(path.suffix == ".dataset" for path in folder.iterdir())
    path = folder / f"{number:06}-{event.request.AffectedSOPInstanceUID}.part"
    path.write_bytes(event.encoded_dataset(include_meta=False))
    path.rename(path.with_suffix(".dataset"))
    return 0x0000


def main(words: Sequence[str] | None = None) -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ae", default=AE_TITLE)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args(words)
    given.folder.mkdir(parents=True, exist_ok=True)
    signal.pthread_sigmask(
        signal.SIG_BLOCK, ENDING
    )  # before there are threads, which would take them
    entity = AE(ae_title=given.ae)
    entity.require_called_aet = True
    entity.add_supported_context(VERIFICATION)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), list(SYNTAXES))
    entity.start_server(
        ("127.0.0.1", given.port),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, keep, [given.folder])],
    )
    signal.sigwait(ENDING)
    entity.shutdown()


if __name__ == "__main__":
    main()
