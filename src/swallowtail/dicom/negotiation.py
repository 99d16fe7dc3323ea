"""The negotiation of presentation contexts.

Pure planners for both roles (PS3.8 9.3.2, 9.3.3; PS3.7 D.3.3).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from swallowtail.dicom import uids
from swallowtail.dicom.pdu import (
    DEFAULT_MAX_PDU,
    MAX_CONTEXTS,
    AnsweredContext,
    AssociateAC,
    AssociateRQ,
    AsyncOperationsWindow,
    ContextResult,
    ProposedContext,
    RoleSelection,
    UserInformation,
)

MAX_INVOKED: Final = 0xFFFF
"""As many as there are message ids: what "no limit" comes to."""


@dataclass(frozen=True, slots=True)
class PresentationContext:
    """An agreed context.

    `requestor_scu` and `requestor_scp` are the roles that the requestor may take on it (PS3.7
    D.3.3.4).
    """

    id: int
    abstract_syntax: str
    transfer_syntax: str
    requestor_scu: bool = True
    requestor_scp: bool = False


@dataclass(frozen=True, slots=True)
class AcceptorPolicy:
    """The policy of a listener on presentation contexts.

    Private storage classes are no class of the standard: they are listed in `sop_classes`.
    """

    sop_classes: frozenset[str] = frozenset({uids.VERIFICATION})
    any_storage: bool = False  # every storage SOP class of the standard, besides `sop_classes`
    transfer_syntaxes: frozenset[str] | None = None  # None: every one of the standard
    additional_transfer_syntaxes: frozenset[str] = frozenset()  # private ones, taken besides
    preferred: tuple[
        str, ...
    ] = ()  # taken in this order when proposed and allowed; otherwise the first proposed
    scp_requestors: frozenset[str] = (
        frozenset()
    )  # SOP classes for which the requestor may be the SCP
    max_pdu: int = DEFAULT_MAX_PDU

    def takes(self, sop_class: str) -> bool:
        """Return whether the listener serves `sop_class`."""
        return sop_class in self.sop_classes or (self.any_storage and uids.is_storage(sop_class))

    def allows(self, transfer_syntax: str) -> bool:
        """Return whether a data set may be encoded in `transfer_syntax`."""
        if transfer_syntax in self.additional_transfer_syntaxes:
            return True
        if self.transfer_syntaxes is None:
            return uids.is_transfer_syntax(transfer_syntax)
        return transfer_syntax in self.transfer_syntaxes

    def choose(self, proposed: tuple[str, ...]) -> str | None:
        """Choose one of the proposed transfer syntaxes, None when the listener allows none."""
        allowed = [uid for uid in proposed if self.allows(uid)]
        return next((uid for uid in self.preferred if uid in allowed), next(iter(allowed), None))


@dataclass(frozen=True, slots=True)
class Agreement:
    """The result of a negotiation.

    `max_send` is the largest P-DATA-TF that the peer takes, 0 for no limit.
    """

    contexts: Mapping[int, PresentationContext]
    max_send: int
    refused: Mapping[int, int] = field(default_factory=dict)  # context id: its ContextResult
    invoked: int = 1  # requests of the requestor that may await their response at once

    def context_for(
        self, sop_class: str, transfer_syntax: str | None = None
    ) -> PresentationContext | None:
        """Find the context for `sop_class`, in `transfer_syntax` if one is named."""
        for context in self.contexts.values():
            if context.abstract_syntax == sop_class and transfer_syntax in {
                None,
                context.transfer_syntax,
            }:
                return context
        return None


def answer(request: AssociateRQ, policy: AcceptorPolicy) -> AssociateAC:
    """Plan the A-ASSOCIATE-AC of a listener with `policy`.

    An answer that accepts no context is legal; many peers then abort.

    User identity and extended negotiation get no answer, which states that they are not supported
    (PS3.7 D.3.3.5, D.3.3.7).
    """
    roles = tuple(
        RoleSelection(
            role.sop_class, role.scu, role.scp and role.sop_class in policy.scp_requestors
        )
        for role in request.user.roles
        if policy.takes(role.sop_class)
    )
    window = (
        AsyncOperationsWindow(1, 1) if request.user.window is not None else None
    )  # PS3.7 D.3.3.3, whatever was proposed
    contexts = tuple(_answer_context(context, policy) for context in request.contexts)
    user = UserInformation(max_pdu=policy.max_pdu, window=window, roles=roles)
    return AssociateAC(request.called, request.calling, contexts, user)


def _answer_context(context: ProposedContext, policy: AcceptorPolicy) -> AnsweredContext:
    if not policy.takes(context.abstract_syntax):
        result, syntax = ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, None
    elif (syntax := policy.choose(context.transfer_syntaxes)) is None:
        result = ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    else:
        result = ContextResult.ACCEPTANCE
    # A refusal's syntax "shall not be significant" (PS3.8 9.3.3.2), but some peers require one to
    # be
    # there.
    return AnsweredContext(
        context.id,
        result,
        syntax or next(iter(context.transfer_syntaxes), uids.IMPLICIT_VR_LITTLE_ENDIAN),
    )


def propose(
    called: str,
    calling: str,
    wanted: Iterable[tuple[str, tuple[str, ...]]],
    *,
    roles: tuple[RoleSelection, ...] = (),
    max_pdu: int = DEFAULT_MAX_PDU,
    window: AsyncOperationsWindow | None = None,
) -> AssociateRQ:
    """Plan an A-ASSOCIATE-RQ with one context per pair of SOP class and transfer syntaxes.

    ValueError above 128 contexts.

    An acceptor takes one syntax per context: to be able to send in several, give each its own pair.
    """
    contexts = tuple(
        ProposedContext(2 * n + 1, sop_class, syntaxes)
        for n, (sop_class, syntaxes) in enumerate(wanted)
    )
    if not 1 <= len(contexts) <= MAX_CONTEXTS:
        raise ValueError(
            f"an association has 1 to {MAX_CONTEXTS} presentation contexts, not {len(contexts)}"
        )
    return AssociateRQ(
        called, calling, contexts, UserInformation(max_pdu=max_pdu, window=window, roles=roles)
    )


def agree(request: AssociateRQ, accepted: AssociateAC, *, requestor: bool) -> Agreement:
    """Read what `request` and its answer agree on; `requestor` states which of the two we sent.

    A context that was not proposed, or accepted with a syntax that was not, cannot be used and
    counts as refused.
    """
    proposed = {context.id: context for context in request.contexts}
    roles = {role.sop_class: role for role in accepted.user.roles}
    contexts: dict[int, PresentationContext] = {}
    refused: dict[int, int] = {}
    for given in accepted.contexts:
        asked = proposed.get(given.id)
        if given.result != ContextResult.ACCEPTANCE:
            refused[given.id] = given.result
        elif asked is None or given.transfer_syntax not in asked.transfer_syntaxes:
            refused[given.id] = ContextResult.NO_REASON
        else:
            role = roles.get(
                asked.abstract_syntax, RoleSelection(asked.abstract_syntax, scu=True, scp=False)
            )
            contexts[given.id] = PresentationContext(
                given.id, asked.abstract_syntax, given.transfer_syntax, role.scu, role.scp
            )
    peer = accepted.user if requestor else request.user
    return Agreement(
        contexts, peer.max_pdu, refused, _invoked(request.user.window, accepted.user.window)
    )


def _invoked(asked: AsyncOperationsWindow | None, answered: AsyncOperationsWindow | None) -> int:
    """Return the number of operations that both sides allow (PS3.7 D.3.3.3).

    0 is no limit, and an answer above what was asked for counts as that.
    """
    if asked is None or answered is None:
        return 1
    limits = [window.invoked for window in (asked, answered) if window.invoked]
    return min(limits, default=MAX_INVOKED)
