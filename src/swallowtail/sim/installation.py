"""A Cloud and one Link as real processes in one folder, set up as a person would.

Serve, apply, run.

with Installation(folder) as facility:  # Cloud serving, document applied, Link listening
    Modality(facility.port("imaging"), facility.called_ae("imaging")).send(…)
    facility.rest.items("/api/v1/instances")
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from swallowtail.sim.cloud_client import Rest, RestFailedError
from swallowtail.sim.processes import Program, ProgramFailedError, accepts, free_port, leave

READY: Final = 30.0
LINK: Final = "ward"
TOKEN: Final = "simulation"  # noqa: S105 - its name
LOOPBACK_POLICY: Final = (
    '[outbound]\nallow = [{ network = "127.0.0.0/8" }]\nnew_targets_per_minute = 1000\n'
)
"""Tests use a dozen destinations within a minute, more than a Link may by default.
"""

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listening:
    """A listener of the document; `more` are further keys of `calls.config.DicomListener`."""

    name: str
    ae_title: str = "SWALLOWTAIL"
    port: int = 0
    address: str = "127.0.0.1"
    more: Table = field(default_factory=dict)

    def table(self) -> Table:
        """Return it as the document has it."""
        return {
            "name": self.name,
            "ae_title": self.ae_title,
            "address": self.address,
            "port": self.port,
            **self.more,
        }


ANY_DEVICE: Final = {"unknown_devices": "accept"}
IMAGING: Final = Listening("imaging", more=ANY_DEVICE)


def toml(value: Any) -> str:
    """Return a value as TOML: text, numbers, truth, lists, and tables inline."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value)


def document(
    listeners: Sequence[Table],
    devices: Sequence[Table],
    destinations: Sequence[Table] = (),
    rules: Sequence[Table] = (),
) -> str:
    """Return the whole hospital as the TOML document that `apply` takes.

    One facility, one Link, one administrator's token.
    """
    sections: list[tuple[str, Table]] = [
        ("[organisation]", {"name": "sandpiper", "title": "Sandpiper Hospital (invented)"}),
        (
            "[[facility]]",
            {"name": "harbour", "title": "Harbour Clinic (invented)", "time_zone": "Europe/Berlin"},
        ),
        ("[[link]]", {"name": LINK, "facility": "harbour"}),
        *(("[[link.listener]]", listener) for listener in listeners),
        *(("[[link.device]]", device) for device in devices),
        *(("[[link.destination]]", destination) for destination in destinations),
        *(("[[rule]]", rule) for rule in rules),
        ("[[token]]", {"name": TOKEN, "role": "administrator"}),
    ]
    return "\n".join(
        f"{title}\n" + "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
        for title, table in sections
    )


class Installation:
    """The whole of it.

    `start` does everything; the steps are public for those who break things in between.
    """

    cloud: Program
    link: Program
    rest: Rest
    operator: Rest
    url: str
    ca: Path
    token: str
    link_id: str

    def __init__(
        self,
        folder: Path,
        *,
        listeners: Sequence[Listening] = (IMAGING,),
        devices: Sequence[Table] = (),
        destinations: Sequence[Table] = (),
        rules: Sequence[Table] = (),
        link_prefix: Sequence[str] = (),
        cloud_host: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Create the installation; `link_prefix` runs Link under another program.

        `environment` is for both programs.
        """
        self.folder = folder
        self.listeners = {
            one.name: Listening(
                one.name, one.ae_title, one.port or free_port(), one.address, one.more
            )
            for one in listeners
        }
        self._routing = (devices, destinations, rules)
        self._prefix = list(link_prefix)
        self._listen = f"{cloud_host}:{free_port()}"
        self._environment = with_source(environment or {})
        self._state = folder / "state"
        self._starts = 0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "policy.toml").write_text(LOOPBACK_POLICY)

    def port(self, listener: str) -> int:
        """Return the port of a listener."""
        return self.listeners[listener].port

    def called_ae(self, listener: str) -> str:
        """Return the AE title of a listener."""
        return self.listeners[listener].ae_title

    def start(self) -> None:
        """Serve the Cloud, apply the document, run Link until it listens."""
        self.start_cloud()
        self.apply()
        self.start_link()
        self.wait_until_listening()

    def start_cloud(self) -> None:
        """Serve the Cloud on the same folder and port as ever.

        The first start reports the operator's token.
        """
        argv: list[str | Path] = [
            *SWALLOWTAIL,
            "cloud",
            "serve",
            "--data",
            self.folder / "cloud",
            "--listen",
            self._listen,
            "--json",
        ]
        self.cloud = Program("cloud", argv, folder=self.folder, environment=self._environment)
        before = len(announcements(self.cloud.text()))
        self.cloud.wait_until(
            lambda: len(announcements(self.cloud.text())) > before,
            seconds=READY,
            what="stating that it listens",
        )
        facts = announcements(self.cloud.text())[-1]
        self.url, self.ca = facts["url"], Path(facts["ca"])
        if "token" in facts:
            self._private("operator.token", facts["token"])
            self.operator = Rest(self.url, facts["token"], self.ca)

    def apply(self) -> dict[str, Any]:
        """Run `swallowtail cloud apply` and give what it did.

        Codes and tokens go into files of the folder.
        """
        listeners = [one.table() for one in self.listeners.values()]
        (self.folder / "hospital.toml").write_text(document(listeners, *self._routing))
        argv: list[str | Path] = [
            *SWALLOWTAIL,
            "cloud",
            "apply",
            self.folder / "hospital.toml",
            "--cloud",
            self.url,
            "--ca",
            self.ca,
        ]
        argv += ["--token-file", self.folder / "operator.token", "--json"]
        program = Program("apply", argv, folder=self.folder, environment=self._environment)
        if program.wait(seconds=READY) != 0:
            raise program.failure("did not apply the document")
        outcome: dict[str, Any] = announcements(program.text(), key="links")[-1]
        self.link_id = outcome["links"][LINK]
        if LINK in outcome["codes"]:
            self._private("code", outcome["codes"][LINK])
        if TOKEN in outcome["tokens"]:
            self.token = outcome["tokens"][TOKEN]
            self._private("simulation.token", self.token)
            self.rest = Rest(self.url, self.token, self.ca)
        return outcome

    def start_link(self, *options: str) -> None:
        """Run Link; it connects by itself.

        `wait_until_listening` states when its listeners are open.
        """
        self.link = self.run_link("link", self._state, *options)

    def run_link(self, name: str, state: Path, *options: str) -> Program:
        """Run a Link with the code of this installation on a state folder.

        On another folder it is another machine.
        """
        argv: list[str | Path] = [
            *self._prefix,
            *SWALLOWTAIL,
            "link",
            "run",
            "--cloud",
            self.url,
            "--ca",
            self.ca,
        ]
        argv += [
            "--state",
            state,
            "--code-file",
            self.folder / "code",
            "--policy",
            self.folder / "policy.toml",
            *options,
        ]
        state.mkdir(mode=0o700, exist_ok=True)
        return Program(name, argv, folder=self.folder, environment=self._environment)

    def wait_until_listening(self, *, seconds: float = READY) -> None:
        """Wait until every listener accepts connections and the Cloud reports Link in sync."""
        ports = [one.port for one in self.listeners.values() if one.address == "127.0.0.1"]
        self.link.wait_until(
            lambda: all(map(accepts, ports)) and self.in_sync(),
            seconds=seconds,
            what="listening as configured",
        )

    def in_sync(self) -> bool:
        """Return whether Link runs the newest configuration with every listener open."""
        try:
            return bool(
                self.rest.json(f"/api/v1/links/{self.link_id}/configuration/comparison")["in_sync"]
            )
        except RestFailedError:
            return False

    def reinstall(self) -> None:
        """Put a new machine in the place of the old one: rebind, a new code, an empty state folder.

        Link must not run.
        """
        self.new_code("rebind")
        self._starts += 1
        self._state = self.folder / f"state-{self._starts}"

    def new_code(self, act: str) -> None:
        """Create a new code for the Link by `rotate` or `rebind`."""
        made = self.operator.json(
            self._of_operator(f"/api/v1/links/{self.link_id}/{act}"), method="POST"
        )
        self._private("code", made["code"])

    def instances(self, study: str = "") -> list[Any]:
        """Return the visible instances, of one study or of all, as the API has them."""
        return list(self.rest.items("/api/v1/instances" + (f"?study={study}" if study else "")))

    def wait_for_instances(self, count: int, study: str, *, seconds: float = READY) -> float:
        """Wait until QIDO finds `count` instances of a study; give the seconds that it took."""
        started = time.monotonic()
        while (found := self._found(study)) < count:
            if time.monotonic() - started > seconds:
                raise ProgramFailedError(
                    f"QIDO finds {found} of {count} instances after {seconds:g} s"
                )
            if not self.cloud.running:
                raise self.cloud.failure("ended")
            time.sleep(0.02)
        return time.monotonic() - started

    def _found(self, study: str) -> int:
        answer = self.rest.json(f"/dicomweb/studies?StudyInstanceUID={study}&includefield=00201208")
        return int(answer[0]["00201208"]["Value"][0]) if answer else 0

    def stop(self) -> None:
        """End both programs, Link first, and hang up."""
        for program in self.programs:
            program.stop()
        for client in (getattr(self, "rest", None), getattr(self, "operator", None)):
            if client is not None:
                client.close()

    @property
    def programs(self) -> list[Program]:
        """Link and Cloud, as far as they were started."""
        return [
            program
            for name in ("link", "cloud")
            if (program := getattr(self, name, None)) is not None
        ]

    def _of_operator(self, path: str) -> str:
        organisation = self.rest.json("/api/v1/whoami")["organisation"]["id"]
        return f"{path}?organisation={organisation}"

    def _private(self, name: str, text: str) -> None:
        path = self.folder / name
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            leave(self.programs, error)
        finally:
            self.stop()


SWALLOWTAIL: Final = (sys.executable, "-m", "swallowtail")


def with_source(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which programs find this package, installed or not."""
    source = str(Path(__file__).parents[2])
    paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**environment, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def announcements(text: str, key: str = "url") -> list[dict[str, Any]]:
    """Return the JSON objects with `key` among the lines of a program's output."""
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                content = json.loads(line)
            except ValueError:
                continue  # the line is being written
            if key in content and "event" not in content:
                found.append(content)
    return found
