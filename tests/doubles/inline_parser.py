"""The parser without a process.

For a simulated Cloud, whose disk has no paths and whose data sets are its own.
"""

import io

from swallowtail.cloud.index.parse import parse
from swallowtail.cloud.model.indexing import IndexJob, IndexOutcome
from swallowtail.cloud.model.ports.blobs import Blobs


class InlineParser:
    """A parser that runs on the caller's loop (`pool.Parser`).

    It has no limits, so it is not for bytes of an unknown sender.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def parse(self, job: IndexJob) -> IndexOutcome:
        """Read the whole blob and parse it."""
        pieces = [piece async for piece in self._blobs.read(job.tenant, job.identity.sha256)]
        return parse(job, io.BytesIO(b"".join(pieces)))
