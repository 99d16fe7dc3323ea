"""Verification (PS3.4 Annex A): C-ECHO answers whether the way to the Cloud is available."""

from typing import ClassVar

from swallowtail.calls.dicom_listener import DicomListener, EchoMeaning
from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.dimse_services.verification import VERIFICATION
from swallowtail.calls.responses import Situation
from swallowtail.link.scp.operation import Operation
from swallowtail.link.scp.services.provider import ServiceProvider


class VerificationProvider(ServiceProvider):
    """The SCP of Verification."""

    declaration: ClassVar[DimseService] = VERIFICATION

    @classmethod
    def available_offline(cls, listener: DicomListener) -> bool:
        return listener.echo is EchoMeaning.LINK

    async def serve(self, operation: Operation) -> None:
        if self.listener.echo is EchoMeaning.LINK:
            situation = Situation.LINK_ECHO
        elif self.state.session() is not None:
            situation = Situation.STORED
        else:
            situation = Situation.CLOUD_LOST
        await operation.answer(situation)
