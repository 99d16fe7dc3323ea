"""The DIMSE services of Link's listeners, each with the class that provides it."""

from collections.abc import Iterator
from typing import Final

from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.dicom.negotiation import AcceptorPolicy
from swallowtail.link.scp.services.provider import ServiceProvider
from swallowtail.link.scp.services.storage.storage import StorageProvider
from swallowtail.link.scp.services.verification import VerificationProvider


class Providers:
    """A table of providers, searched by SOP class and by operation."""

    def __init__(self, *providers: type[ServiceProvider]) -> None:
        self._providers = providers

    def __iter__(self) -> Iterator[type[ServiceProvider]]:
        return iter(self._providers)

    def of_sop_class(self, listener: DicomListener, sop_class: str) -> type[ServiceProvider] | None:
        """Return the provider of a SOP class, enabled or not; None when there is none.

        A class that the standard does not list belongs to the service whose classes `listener`
        selects.
        """
        for provider in self._providers:
            if sop_class in provider.declaration.sop_classes:
                return provider
        if sop_class in listener.sop_classes:
            return next((one for one in self._providers if one.declaration.selectable), None)
        return None

    def of_operation(
        self, listener: DicomListener, field: int, abstract_syntax: str
    ) -> type[ServiceProvider] | None:
        """Return the provider of a request with this command field; None when nobody serves it.

        The one of the presentation context, or another one, which will refuse a SOP class that is
        not its own.
        """
        provider = self.of_sop_class(listener, abstract_syntax)
        if provider is not None and field in provider.declaration.operations:
            return provider
        return next((one for one in self._providers if field in one.declaration.operations), None)


def policy(provider: type[ServiceProvider], listener: DicomListener) -> AcceptorPolicy:
    """Return which presentation contexts of a service `listener` accepts, were it enabled."""
    service = provider.declaration
    if service.selectable:
        return AcceptorPolicy(
            sop_classes=frozenset(listener.sop_classes) or service.sop_classes,
            transfer_syntaxes=frozenset(listener.transfer_syntaxes) or service.transfer_syntaxes,
            additional_transfer_syntaxes=frozenset(listener.additional_transfer_syntaxes),
            preferred=listener.transfer_syntaxes,
            max_pdu=listener.max_pdu,
        )
    known = (*listener.transfer_syntaxes, *listener.additional_transfer_syntaxes)
    return AcceptorPolicy(
        sop_classes=service.sop_classes,
        transfer_syntaxes=service.transfer_syntaxes,
        # without data sets of its own any syntax will do
        additional_transfer_syntaxes=frozenset(known if service.transfer_syntaxes is None else ()),
        max_pdu=listener.max_pdu,
    )


PROVIDERS: Final = Providers(VerificationProvider, StorageProvider)
