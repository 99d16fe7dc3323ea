"""A real Cloud and a real Link at `--log-level debug`.

Link in folders of its own, and without rights beyond those of a service.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from swallowtail.sim.installation import ANY_DEVICE, Installation, Listening
from swallowtail.sim.processes import free_port
from tests.leaks.associations import EXPLICIT, US, VERIFICATION
from tests.leaks.canary import PATIENT

LISTENERS = (
    Listening("imaging", more=ANY_DEVICE),
    Listening("known", more={}),
    Listening("picky", more={**ANY_DEVICE, "transfer_syntaxes": ["1.2.840.10008.1.2"]}),
)
POWERLESS = (
    ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    if os.geteuid() == 0
    else []
)
"""root without capabilities is as good as any service account here.

What only capabilities allow is refused.
"""


@dataclass(frozen=True)
class Site:
    """The installation, Link's own folders, and a PACS that refuses every instance and names the
    patient as it does.
    """

    installation: Installation
    work: Path
    temporary: Path
    pacs: int

    @property
    def logs(self) -> list[Path]:
        """Everything that either program has printed."""
        return [program.output for program in self.installation.programs]

    @property
    def of_link(self) -> list[Path]:
        """Every folder that is Link's, and what it has printed."""
        return [
            self.installation.folder / "state",
            self.work,
            self.temporary,
            self.installation.link.output,
        ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert shutil.which("setpriv"), "setpriv is missing (apt install util-linux)"
    folder = tmp_path_factory.mktemp("site")
    work, temporary = folder / "work", folder / "temporary"
    for one in (work, temporary):
        one.mkdir()
    prefix = ["env", f"--chdir={work}", f"TMPDIR={temporary}", f"HOME={work}", *POWERLESS]
    installation = Installation(
        folder,
        listeners=LISTENERS,
        link_prefix=prefix,
        environment={"SWALLOWTAIL_LOG_LEVEL": "debug"},
    )
    with refusing_pacs() as pacs, installation:
        yield Site(installation, work, temporary, pacs)


class refusing_pacs:  # noqa: N801 - a context
    """pynetdicom that answers each C-STORE with A900 and the patient in the error comment
    (0000,0902), as real ones do.
    """

    def __enter__(self) -> int:
        entity = AE(ae_title="PACS")
        entity.add_supported_context(VERIFICATION)
        entity.add_supported_context(US, [EXPLICIT])
        port = free_port()
        self._server = entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._refuse)]
        )
        return port

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def _refuse(self, _: evt.Event) -> Dataset:
        answer = Dataset()
        answer.Status, answer.ErrorComment = 0xA900, f"{PATIENT.name} {PATIENT.number}"
        return answer
