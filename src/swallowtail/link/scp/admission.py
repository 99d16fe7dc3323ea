"""Who may open an association on a listener.

Judged by numbers that are given, so that every case is a line in a test.

There are two bounds. Beyond `max_associations`, in all or from an address, an A-ASSOCIATE-RQ is
rejected with (2,3,2). Transports have a second, higher bound (CONNECTIONS,
CONNECTIONS_PER_ADDRESS), so that whoever is over the first still receives that answer; beyond the
second a connection is closed unread. Of both, a quarter is kept for known devices, so that a
machine that opens and dribbles keeps none of them out (threat 16).
"""

from dataclasses import dataclass, replace
from typing import Final

from swallowtail.calls.answers import ASSOCIATION_ANSWERS, RefuseContext, Situation
from swallowtail.calls.config import DicomListener, EchoMeaning
from swallowtail.dicom import ae_titles
from swallowtail.dicom.negotiation import AcceptorPolicy, answer
from swallowtail.dicom.pdu import AnsweredContext, AssociateAC, AssociateRQ
from swallowtail.dicom.uids import VERIFICATION, is_storage
from swallowtail.link.directory import Directory

RESERVED_SHARE: Final = 4
"""One in so many slots is for known devices alone."""
CONNECTIONS: Final = 256
CONNECTIONS_PER_ADDRESS: Final = 128
"""Transports of a listener, at least twice its associations.

Until its request is complete each costs some 10 KB, and 64 KiB more at worst.
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What a listener carries at the moment; a connection counts until it is closed."""

    associations: int = 0
    from_address: int = 0
    """Associations from the address in question."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The association may be negotiated.

    `device` is the configured name, empty when any device may come.
    """

    device: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The association is rejected as the table says for `situation`.

    `reason` names what did not match, empty for the rest.
    """

    situation: Situation
    reason: str = ""


Admission = Admitted | Rejected


def may_connect(listener: DicomListener, directory: Directory, address: str, load: Load) -> bool:
    """Return whether a connection, of which only the address is known, is kept.

    False closes it unread.

    `load` counts connections here.
    """
    slots = max(CONNECTIONS, 2 * listener.max_associations)
    own = max(CONNECTIONS_PER_ADDRESS, 2 * listener.max_associations_per_address)
    if load.associations >= slots or load.from_address >= own:
        return False
    return load.associations < slots - max(1, slots // RESERVED_SHARE) or directory.knows_address(
        listener.name, address
    )


def judge_association(
    listener: DicomListener,
    directory: Directory,
    request: AssociateRQ,
    address: str,
    load: Load,
    *,
    cloud_alive: bool,
) -> Admission:
    """Judge a proposed association.

    The permanent answers come first, since they hold whatever else is the case.
    """
    if ae_titles.significant(request.called) != ae_titles.significant(listener.ae_title):
        return Rejected(Situation.UNKNOWN_CALLED_AE, "called-ae")
    if not ae_titles.is_valid(request.calling):
        return Rejected(Situation.UNKNOWN_CALLING_AE, "calling-ae-invalid")
    device = directory.find(listener.name, request.calling, address)
    if isinstance(device, str) and listener.unknown_devices == "reject":
        return Rejected(Situation.UNKNOWN_CALLING_AE, device)
    if load.from_address >= listener.max_associations_per_address:
        return Rejected(Situation.TOO_MANY_ASSOCIATIONS)
    slots = listener.max_associations
    if isinstance(device, str):
        slots -= max(1, slots // RESERVED_SHARE) if directory.by_title and slots > 1 else 0
    if load.associations >= slots:
        return Rejected(Situation.TOO_MANY_ASSOCIATIONS)
    if not cloud_alive and not (listener.echo is EchoMeaning.LINK and _asks_echo_alone(request)):
        return Rejected(Situation.CLOUD_AWAY)
    return Admitted("" if isinstance(device, str) else device.name)


def _asks_echo_alone(request: AssociateRQ) -> bool:
    """An association that wants more is better told (2,3,1), and comes again, than accepted for a
    C-ECHO with the rest refused.
    """
    return all(context.abstract_syntax == VERIFICATION for context in request.contexts)


def negotiate(listener: DicomListener, request: AssociateRQ) -> AssociateAC:
    """Plan the A-ASSOCIATE-AC of an admitted association from what the listener serves."""
    for_echo = answer(request, _verification_policy(listener))
    for_store = answer(request, storage_policy(listener))
    contexts = tuple(
        _answer_context(
            listener,
            proposed.abstract_syntax,
            echo if proposed.abstract_syntax == VERIFICATION else store,
        )
        for proposed, echo, store in zip(
            request.contexts, for_echo.contexts, for_store.contexts, strict=True
        )
    )
    return replace(for_store, contexts=contexts)


def judge_message(listener: DicomListener, sop_class: str, context: str) -> Situation | None:
    """Judge a request on an association that stands.

    The configuration may have changed since, and peers mix up contexts.
    """
    situation = _judge_class(listener, sop_class)
    return (
        Situation.SOP_CLASS_NOT_CONFIGURED
        if situation is None and sop_class != context
        else situation
    )


def storage_policy(listener: DicomListener) -> AcceptorPolicy:
    """Give what the listener takes for storage; a private class has to be listed."""
    return AcceptorPolicy(
        sop_classes=frozenset(listener.sop_classes),
        any_storage=not listener.sop_classes,
        transfer_syntaxes=frozenset(listener.transfer_syntaxes) or None,
        additional_transfer_syntaxes=frozenset(listener.additional_transfer_syntaxes),
        preferred=listener.transfer_syntaxes,
        max_pdu=listener.max_pdu,
    )


def _verification_policy(listener: DicomListener) -> AcceptorPolicy:
    """Return what the listener takes for C-ECHO, which has no data set.

    Any known syntax will do.
    """
    listed = (*listener.transfer_syntaxes, *listener.additional_transfer_syntaxes)
    return AcceptorPolicy(additional_transfer_syntaxes=frozenset(listed), max_pdu=listener.max_pdu)


def _answer_context(
    listener: DicomListener, sop_class: str, answered: AnsweredContext
) -> AnsweredContext:
    situation = _judge_class(listener, sop_class)
    refusal = None if situation is None else ASSOCIATION_ANSWERS[situation]
    return (
        replace(answered, result=refusal.result) if isinstance(refusal, RefuseContext) else answered
    )


def _judge_class(listener: DicomListener, sop_class: str) -> Situation | None:
    if sop_class == VERIFICATION:
        return None if "verification" in listener.services else Situation.SERVICE_NOT_ALLOWED
    known = is_storage(sop_class) or sop_class in listener.sop_classes
    if known and "storage" not in listener.services:
        return Situation.SERVICE_NOT_ALLOWED
    return (
        None
        if known and storage_policy(listener).takes(sop_class)
        else Situation.SOP_CLASS_NOT_CONFIGURED
    )
