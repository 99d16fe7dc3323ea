"""The subject of the re-seal's crash points."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

from swallowtail.cloud.certificates import ensure_certificate
from swallowtail.cloud.folder import DataFolder
from swallowtail.cloud.operations.reseal import reseal as reseal_folder


def provision(folder: Path, go: Callable[[], None]) -> None:
    """Make the folder that every other subject gets a copy of."""
    data = DataFolder(folder)
    data.pepper()
    data.audit_keyring().add_key()
    ensure_certificate(data.path, ["localhost"], dt.datetime.now(dt.UTC), data.seal)
    data.close()
    go()


def reseal(folder: Path, go: Callable[[], None]) -> None:
    """Replace the master key."""
    go()
    reseal_folder(folder)
