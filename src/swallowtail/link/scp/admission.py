"""The admission of associations on a listener.

Decided by values that are given, so that every case is a line in a test.

There are two bounds. Beyond `max_associations`, in all or from an address, an A-ASSOCIATE-RQ is
rejected with (2,3,2). Transports have a second, higher bound (CONNECTIONS,
CONNECTIONS_PER_ADDRESS), so that whoever is over the first still receives that answer; beyond the
second a connection is closed unread. Of both, a quarter is reserved for known devices, so that a
peer that opens connections and sends slowly does not keep them out (threat 16).
"""

from dataclasses import dataclass, replace
from typing import Final

from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.calls.dimse_services.responses import ASSOCIATION_RESPONSES, ContextRejection
from swallowtail.calls.responses import Situation
from swallowtail.dicom import ae_titles
from swallowtail.dicom.negotiation import AcceptorPolicy, answer
from swallowtail.dicom.pdu import AnsweredContext, AssociateAC, AssociateRQ
from swallowtail.link.directory import Directory
from swallowtail.link.scp.services.table import Providers, policy

RESERVED_SHARE: Final = 4
"""One in so many slots is for known devices alone."""
CONNECTIONS: Final = 256
CONNECTIONS_PER_ADDRESS: Final = 128
"""Transports of a listener, at least twice its associations.

Until its request is complete each costs some 10 KB, and 64 KiB more at worst.
"""


@dataclass(frozen=True, slots=True)
class Load:
    """The present load of a listener; a connection counts until it is closed."""

    associations: int = 0
    from_address: int = 0
    """Associations from the address in question."""


@dataclass(frozen=True, slots=True)
class AssociationAdmitted:
    """The association may be negotiated.

    `device` is the configured name, empty when any device may connect.
    """

    device: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The association is rejected as the response table states for `situation`.

    `reason` names what did not match, empty for the rest.
    """

    situation: Situation
    reason: str = ""


Admission = AssociationAdmitted | Rejected


def may_connect(listener: DicomListener, directory: Directory, address: str, load: Load) -> bool:
    """Return whether a connection, of which only the address is known, is kept.

    Otherwise it is closed unread. `load` counts connections here.
    """
    slots = max(CONNECTIONS, 2 * listener.max_associations)
    own = max(CONNECTIONS_PER_ADDRESS, 2 * listener.max_associations_per_address)
    if load.associations >= slots or load.from_address >= own:
        return False
    return load.associations < slots - max(1, slots // RESERVED_SHARE) or directory.has_address(
        listener.name, address
    )


def judge_association(
    listener: DicomListener,
    directory: Directory,
    request: AssociateRQ,
    address: str,
    load: Load,
    *,
    providers: Providers,
    cloud_online: bool,
) -> Admission:
    """Evaluate a requested association.

    Permanent rejections come first, since they hold whatever else is the case.
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
    if not cloud_online and not _all_available_offline(listener, request, providers):
        return Rejected(Situation.CLOUD_OFFLINE)
    return AssociationAdmitted("" if isinstance(device, str) else device.name)


def _all_available_offline(
    listener: DicomListener, request: AssociateRQ, providers: Providers
) -> bool:
    """Return whether every proposed context is of a service that does not need the Cloud.

    A requestor that proposes more is rejected with (2,3,1), so that it tries again later: with
    some contexts accepted it might not.
    """
    found = (
        providers.of_sop_class(listener, context.abstract_syntax) for context in request.contexts
    )
    return bool(request.contexts) and all(
        one is not None and one.available_offline(listener) for one in found
    )


def negotiate(listener: DicomListener, request: AssociateRQ, providers: Providers) -> AssociateAC:
    """Plan the A-ASSOCIATE-AC of an admitted association from what the listener serves."""
    answers = {one: answer(request, policy(one, listener)) for one in providers}
    unserved = answer(request, AcceptorPolicy(frozenset(), max_pdu=listener.max_pdu))
    contexts: list[AnsweredContext] = []
    for index, proposed in enumerate(request.contexts):
        provider = providers.of_sop_class(listener, proposed.abstract_syntax)
        given = (unserved if provider is None else answers[provider]).contexts[index]
        contexts.append(_answer_context(listener, proposed.abstract_syntax, given, providers))
    roles = {role.sop_class: role for one in answers.values() for role in one.user.roles}
    return replace(
        unserved, contexts=tuple(contexts), user=replace(unserved.user, roles=tuple(roles.values()))
    )


def judge_message(
    listener: DicomListener, sop_class: str, context: str, providers: Providers
) -> Situation | None:
    """Evaluate a request on an established association.

    The configuration may have changed since, and peers mix up contexts.
    """
    situation = _judge_class(listener, sop_class, providers)
    return (
        Situation.SOP_CLASS_NOT_CONFIGURED
        if situation is None and sop_class != context
        else situation
    )


def _answer_context(
    listener: DicomListener, sop_class: str, answered: AnsweredContext, providers: Providers
) -> AnsweredContext:
    situation = _judge_class(listener, sop_class, providers)
    refusal = None if situation is None else ASSOCIATION_RESPONSES[situation]
    return (
        replace(answered, result=refusal.result)
        if isinstance(refusal, ContextRejection)
        else answered
    )


def _judge_class(listener: DicomListener, sop_class: str, providers: Providers) -> Situation | None:
    provider = providers.of_sop_class(listener, sop_class)
    if provider is None:
        return Situation.SOP_CLASS_NOT_CONFIGURED
    if provider.declaration.name not in listener.services:
        return Situation.SERVICE_NOT_ALLOWED
    accepted = policy(provider, listener).takes(sop_class)
    return None if accepted else Situation.SOP_CLASS_NOT_CONFIGURED
