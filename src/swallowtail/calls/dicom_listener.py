"""The settings of a DICOM listener."""

import enum
from typing import Annotated

from msgspec import Meta

from swallowtail.calls.dimse_services.table import SERVICE_NAME
from swallowtail.calls.document import END, AeTitle, Document, ListenerSettings, Seconds, Uid


class EchoMeaning(enum.StrEnum):
    """The condition under which Link responds to a C-ECHO with success."""

    CLOUD = "cloud"
    """Link has a session with the Cloud; without one the association is rejected with (2,3,1)."""
    LINK = "link"
    """Link is up."""


class Timeouts(Document, frozen=True, kw_only=True):
    """Deadlines of a DICOM listener, in seconds."""

    associate: Seconds = 30.0
    """From the connection to the complete A-ASSOCIATE-RQ (ARTIM, PS3.8 9.1.5)."""
    idle: Seconds = 300.0
    """From one PDU of an association to the next."""


class DicomListener(ListenerSettings, frozen=True, kw_only=True, tag="dicom"):
    """A port on which Link is a DICOM application entity."""

    ae_title: AeTitle
    services: tuple[Annotated[str, Meta(pattern=SERVICE_NAME + END)], ...] = (
        "verification",
        "storage",
    )
    sop_classes: Annotated[tuple[Uid, ...], Meta(max_length=256)] = ()
    """Storage SOP classes that are accepted; empty: every storage SOP class."""
    transfer_syntaxes: Annotated[tuple[Uid, ...], Meta(max_length=64)] = ()
    """Transfer syntaxes that are accepted, the preferred one first.

    Empty: every transfer syntax of the standard, the first one that is proposed.
    """
    additional_transfer_syntaxes: Annotated[tuple[Uid, ...], Meta(max_length=64)] = ()
    """Private transfer syntaxes that are accepted as well; their data sets are stored unchanged."""
    unknown_devices: Annotated[str, Meta(pattern="^(reject|accept)" + END)] = "reject"
    echo: EchoMeaning = EchoMeaning.CLOUD
    max_associations: Annotated[int, Meta(ge=1, le=256)] = 64
    max_associations_per_address: Annotated[int, Meta(ge=1, le=256)] = 32
    """Several modalities may share an address, behind a router or NAT."""
    max_pdu: Annotated[int, Meta(ge=4096, le=1_048_576)] = 262_144
    max_object: Annotated[int, Meta(ge=1_048_576)] = 17_179_869_184
    """Bytes of one data set."""
    timeouts: Timeouts = Timeouts()
