"""Admission of Links: whose security code and device key these are (wire §3)."""

from swallowtail.cloud.model.credentials import KeyedHash
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.ports.links import Links
from swallowtail.cloud.model.tenancy import Admission


class LinkAdmission:
    """Admits Links by their security code and device key."""

    def __init__(self, links: Links, hashes: KeyedHash, *, clock: Clock) -> None:
        self._links, self._hashes, self._clock = links, hashes, clock

    async def admit(self, code: str, key: bytes, *, address: str) -> Admission:
        """Bind the key to a fresh code, raise the epoch and record the audit event.

        The caller has verified the proof of the key. Raises StorageUnavailableError.
        """
        digest = self._hashes.of_code(code)
        return await self._links.admit(digest, key, address=address, now=self._clock())
