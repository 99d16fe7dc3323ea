"""The provider of the tests' service: an identifier in, matches out, until it is cancelled."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import ClassVar, Final

from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.responses import Situation
from swallowtail.dicom.commands import Command
from swallowtail.dicom.status import Status as Code
from swallowtail.link.scp.operation import Operation
from swallowtail.link.scp.services.provider import ServiceProvider
from tests.dicom.query_declaration import QUERY

MAX_IDENTIFIER: Final = 65_536


async def three_matches(identifier: bytes) -> AsyncGenerator[bytes, None]:
    """Return the identifier itself, three times."""
    for _ in range(3):
        yield identifier


class QueryProvider(ServiceProvider):
    """The SCP of the tests' service."""

    declaration: ClassVar[DimseService] = QUERY
    matches = staticmethod(three_matches)

    def validate(self, command: Command) -> Situation | None:
        return None if command.has_data_set else Situation.MALFORMED

    async def serve(self, operation: Operation) -> None:
        identifier = await operation.read_data_set(MAX_IDENTIFIER)
        if isinstance(identifier, Situation):
            await operation.answer(identifier)
            return
        async with operation.until_cancelled(), aclosing(self.matches(identifier)) as matches:
            async for match in matches:
                await operation.respond(Code.PENDING, data_set=match)
        if operation.cancelled:
            await operation.respond(Code.CANCEL)
        else:
            await operation.answer(Situation.STORED)
