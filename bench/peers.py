"""The peers: receivers that are started, reset before a run, and report completion."""

import json
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from swallowtail.sim.processes import Program, ProgramFailedError, free_port

NODELAY: Final = {"TCP_NODELAY": "1"}  # DCMTK reads it: Nagle's algorithm off


class Receiver(Protocol):
    """A receiver for dcmsend."""

    name: str
    port: int
    called_ae: str
    sender_environment: dict[str, str]
    """What the sender runs under, so that a setting holds at both ends."""

    def reset(self) -> None:
        """Reset to the state before the last run, untimed."""

    def wait_for_all(self, count: int) -> None:
        """Return when the path's far end has `count` more instances than at `reset`; timed."""

    def after(self) -> None:
        """Record the cost of a run, untimed."""


class Dcmtk:
    """DCMTK's storescp, writing files, no fsync."""

    called_ae = "ANY-SCP"

    def __init__(self, folder: Path, *, nodelay: bool, max_pdu: int | None, fork: bool) -> None:
        self.name = "storescp nodelay" if nodelay else "storescp"
        self.port = free_port()
        self.sender_environment = NODELAY if nodelay else {}
        self._received = folder / "received"
        self._received.mkdir(parents=True)
        options = (["-pdu", str(max_pdu)] if max_pdu else []) + (["--fork"] if fork else [])
        argv: list[str | Path] = [
            "/usr/bin/storescp",
            *options,
            "-od",
            self._received,
            str(self.port),
        ]
        self._program = Program(
            "storescp", argv, folder=folder, environment=self.sender_environment
        )
        self._program.wait_for_port(self.port)

    def reset(self) -> None:
        shutil.rmtree(self._received)
        self._received.mkdir()

    def count(self) -> int:
        """Return the number of instances that it has, including one that is being written."""
        return sum(1 for _ in self._received.iterdir())

    def wait_for_all(self, count: int) -> None:
        if (found := self.count()) != count:
            raise ProgramFailedError(f"storescp has {found} of {count} instances")

    def after(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        self._program.stop()


class Pynetdicom:
    """pynetdicom's storage SCP, writing files, no fsync."""

    name = "pynetdicom"
    called_ae = "ANY-SCP"

    def __init__(self, folder: Path, *, max_pdu: int | None) -> None:
        self.port = free_port()
        self.sender_environment: dict[str, str] = {}
        self._received = folder / "received"
        self._received.mkdir(parents=True)
        argv = [
            sys.executable,
            Path(__file__).with_name("storage_scp.py"),
            str(self.port),
            self._received,
            str(max_pdu or 0),
        ]
        self._program = Program("pynetdicom", argv, folder=folder)
        self._program.wait_for_port(self.port)

    def reset(self) -> None:
        shutil.rmtree(self._received)
        self._received.mkdir()

    def wait_for_all(self, count: int) -> None:
        if (found := sum(1 for _ in self._received.iterdir())) != count:
            raise ProgramFailedError(f"pynetdicom has {found} of {count} instances")

    def after(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        self._program.stop()


class Orthanc:
    """One Orthanc with Debian's settings except for ports and folders.

    In a chain, a line of Lua forwards what arrives.
    """

    def __init__(self, folder: Path, *, name: str, forward_to: int | None = None) -> None:
        self.port, self._http = free_port(), free_port()
        folder.mkdir(parents=True)
        settings: dict[str, Any] = {
            "Name": name,
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "DicomPort": self.port,
            "HttpPort": self._http,
            "RemoteAccessAllowed": False,
            "DicomAlwaysAllowStore": True,
            "DicomCheckCalledAet": False,
            "Plugins": [],
        }
        if forward_to is not None:
            script = folder / "forward.lua"
            script.write_text(
                "function OnStoredInstance(id, tags, metadata)\n  SendToPeer(id, 'second')\nend\n"
            )
            settings["LuaScripts"] = [str(script)]
            settings["OrthancPeers"] = {"second": [f"http://127.0.0.1:{forward_to}/"]}
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self.program = Program(name, ["/usr/sbin/Orthanc", folder / "orthanc.json"], folder=folder)
        self.program.wait_for_port(self._http)
        self.program.wait_for_port(self.port)

    @property
    def http(self) -> int:
        return self._http

    def count(self) -> int:
        """Return the number of instances that it has."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self._http}/statistics", timeout=30
        ) as answer:
            return int(json.load(answer)["CountInstances"])


class OrthancChain:
    """Orthanc → Orthanc over plain HTTP: done when the second has everything."""

    name = "orthanc chain"
    called_ae = "ORTHANC"
    deadline: Final = 300.0

    def __init__(self, folder: Path) -> None:
        self._second = Orthanc(folder / "second", name="second")
        self._first = Orthanc(folder / "first", name="first", forward_to=self._second.http)
        self.port = self._first.port
        self.sender_environment: dict[str, str] = {}
        self._before = 0

    def reset(self) -> None:
        self._before = self._second.count()

    def wait_for_all(self, count: int) -> None:
        until = time.monotonic() + self.deadline
        while (found := self._second.count() - self._before) < count:
            if time.monotonic() > until:
                raise ProgramFailedError(
                    f"the second Orthanc has {found} of {count} instances after {self.deadline:g} s"
                )
            time.sleep(0.02)

    def after(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        self._first.program.stop()
        self._second.program.stop()


def missing() -> dict[str, str]:
    """Return the peers that this machine lacks, each with the package to install."""
    wanted = {
        "storescp": ("/usr/bin/storescp", "apt install dcmtk"),
        "orthanc chain": ("/usr/sbin/Orthanc", "apt install orthanc"),
    }
    return {name: remedy for name, (path, remedy) in wanted.items() if not Path(path).exists()}


@contextmanager
def peers(folder: Path, *, max_pdu: int | None, fork: bool) -> Iterator[list[Receiver]]:
    """Start every peer that is installed.

    This Orthanc has no setting for its PDU length, so it is in the default rows only.
    """
    absent = missing()
    with ExitStack() as stack:
        found: list[Any] = []
        if "storescp" not in absent:
            found += [
                Dcmtk(folder / f"storescp-{n}", nodelay=n, max_pdu=max_pdu, fork=fork)
                for n in (False, True)
            ]
        found.append(Pynetdicom(folder / "pynetdicom", max_pdu=max_pdu))
        if "orthanc chain" not in absent and max_pdu is None:
            found.append(OrthancChain(folder / "orthanc"))
        for peer in found:
            stack.callback(peer.close)
        yield found
