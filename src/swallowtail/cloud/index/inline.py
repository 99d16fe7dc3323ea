"""The parser without a process.

For a simulated world, whose disk has no paths and whose data sets are its own.
"""

import io

from swallowtail.cloud.index.parse import parse
from swallowtail.cloud.model.indexing import IndexJob, IndexOutcome
from swallowtail.cloud.model.ports.blobs import Blobs


class InlineParser:
    """Parses on the caller's loop (`pool.Parser`).

    Without limits, so never for bytes that a stranger sent.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def parse(self, job: IndexJob) -> IndexOutcome:
        """Read the whole blob and parse it."""
        pieces = [piece async for piece in self._blobs.read(job.tenant, job.identity.sha256)]
        return parse(job, io.BytesIO(b"".join(pieces)))
