"""The certificates that a node serves, and when they end."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import structlog
from cryptography import x509

log = structlog.get_logger()


class ServedCertificates:
    """The server's certificate and the soonest-ending authority in the same file.

    `own` states that the Cloud created them itself (`data_folder/certificates`).
    """

    def __init__(self) -> None:
        self.own = False
        self.ends: dict[str, dt.datetime] = {}
        """By `server` and `authority`."""

    def register(self, path: Path, *, own: bool) -> None:
        """Record that handshakes are answered with this file from now on.

        A file that is renewed but not loaded is not registered.
        """
        self.own = own
        try:
            chain = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            self.ends = {}
            log.warning("certificate end unreadable", error=error)
            return
        self.ends = {"server": chain[0].not_valid_after_utc} | _soonest(chain[1:])


def _soonest(authorities: Sequence[x509.Certificate]) -> dict[str, dt.datetime]:
    return (
        {"authority": min(each.not_valid_after_utc for each in authorities)} if authorities else {}
    )
