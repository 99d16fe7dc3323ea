"""Certificates of a Cloud's own authority; their keys are sealed under an invented master key."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from swallowtail.cloud.data_folder import certificates
from swallowtail.cloud.data_folder.certificates import ServerFiles
from swallowtail.cloud.secrets.sealing import Seal

SEAL: Final = Seal(b"m" * 32)


def ensure_certificate(folder: Path, names: Iterable[str], now: dt.datetime) -> ServerFiles:
    """Create or renew the certificate of a folder (`certificates.ensure_certificate`)."""
    return certificates.ensure_certificate(folder, names, now, SEAL)
