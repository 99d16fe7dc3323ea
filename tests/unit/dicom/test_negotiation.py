"""Who gets which presentation context."""

from dataclasses import replace

import pytest

from swallowtail.dicom import uids
from swallowtail.dicom.negotiation import (
    AcceptorPolicy,
    PresentationContext,
    agree,
    answer,
    propose,
)
from swallowtail.dicom.pdu import (
    AnsweredContext,
    AssociateAC,
    AssociateRQ,
    AsyncOperationsWindow,
    RoleSelection,
    UserIdentity,
    UserInformation,
)

US = "1.2.840.10008.5.1.4.1.1.6.1"
COMMITMENT = "1.2.840.10008.1.20.1"
IMPLICIT, EXPLICIT, JPEG = (
    uids.IMPLICIT_VR_LITTLE_ENDIAN,
    uids.EXPLICIT_VR_LITTLE_ENDIAN,
    "1.2.840.10008.1.2.4.50",
)

PRIVATE = "1.2.840.113619.5.2"
BIG_ENDIAN, XML = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.6.2"


def _asked(*syntaxes: str, sop_class: str = US) -> AssociateRQ:
    return propose("LINK", "US1", [(sop_class, syntaxes)])


@pytest.mark.parametrize(
    ("policy", "proposed", "expected"),
    [
        (AcceptorPolicy(any_storage=True), (JPEG, EXPLICIT), (0, JPEG)),
        (AcceptorPolicy(any_storage=True), (PRIVATE,), (4, PRIVATE)),
        (AcceptorPolicy(any_storage=True), (PRIVATE, IMPLICIT), (0, IMPLICIT)),
        (AcceptorPolicy(any_storage=True), (BIG_ENDIAN,), (0, BIG_ENDIAN)),
        (AcceptorPolicy(any_storage=True), (XML, IMPLICIT), (0, IMPLICIT)),
        (
            AcceptorPolicy(any_storage=True, additional_transfer_syntaxes=frozenset({PRIVATE})),
            (PRIVATE, IMPLICIT),
            (0, PRIVATE),
        ),
        (
            AcceptorPolicy(any_storage=True, transfer_syntaxes=frozenset({EXPLICIT, IMPLICIT})),
            (JPEG, IMPLICIT, EXPLICIT),
            (0, IMPLICIT),
        ),
        (AcceptorPolicy(any_storage=True, preferred=(EXPLICIT,)), (JPEG, EXPLICIT), (0, EXPLICIT)),
        (AcceptorPolicy(any_storage=True, preferred=(EXPLICIT,)), (JPEG,), (0, JPEG)),
        (
            AcceptorPolicy(
                any_storage=True, preferred=(JPEG,), transfer_syntaxes=frozenset({EXPLICIT})
            ),
            (JPEG, EXPLICIT),
            (0, EXPLICIT),
        ),
        (
            AcceptorPolicy(any_storage=True, transfer_syntaxes=frozenset({EXPLICIT})),
            (JPEG,),
            (4, JPEG),
        ),
        (AcceptorPolicy(any_storage=True), (), (4, IMPLICIT)),
        (AcceptorPolicy(), (JPEG,), (3, JPEG)),
        (AcceptorPolicy(sop_classes=frozenset({US})), (JPEG,), (0, JPEG)),
    ],
)
def test_one_syntax_per_context(
    policy: AcceptorPolicy, proposed: tuple[str, ...], expected: tuple[int, str]
) -> None:
    (context,) = answer(_asked(*proposed), policy).contexts
    assert (context.id, context.result, context.transfer_syntax) == (1, *expected)


def test_a_service_is_not_taken_for_storage() -> None:
    (context,) = answer(
        _asked(IMPLICIT, sop_class=COMMITMENT), AcceptorPolicy(any_storage=True)
    ).contexts
    assert context.result == 3


@pytest.mark.parametrize(
    "proposed",
    [AsyncOperationsWindow(0, 0), AsyncOperationsWindow(5, 5), AsyncOperationsWindow(1, 1)],
)
def test_the_operations_window_is_answered_1(proposed: AsyncOperationsWindow) -> None:
    asked = AssociateRQ("LINK", "US1", _asked(JPEG).contexts, UserInformation(window=proposed))
    assert answer(asked, AcceptorPolicy()).user.window == AsyncOperationsWindow(1, 1)
    assert answer(_asked(JPEG), AcceptorPolicy()).user.window is None


def test_roles_are_answered_within_the_policy() -> None:
    policy = AcceptorPolicy(frozenset({COMMITMENT, US}), scp_requestors=frozenset({COMMITMENT}))
    roles = tuple(RoleSelection(uid, scu=True, scp=True) for uid in (COMMITMENT, US, "1.2.3"))
    asked = propose("LINK", "PACS", [(COMMITMENT, (IMPLICIT,)), (US, (JPEG,))], roles=roles)
    given = answer(asked, policy)
    assert given.user.roles == (
        RoleSelection(COMMITMENT, scu=True, scp=True),
        RoleSelection(US, scu=True, scp=False),
    )
    contexts = agree(asked, given, requestor=False).contexts
    assert (contexts[1].requestor_scp, contexts[3].requestor_scp) == (True, False)


def test_identity_is_tolerated_and_not_answered() -> None:
    user = UserInformation(identity=UserIdentity(2, True, b"ada", b"heron"))
    assert (
        answer(
            AssociateRQ("LINK", "US1", _asked(JPEG).contexts, user), AcceptorPolicy()
        ).user.identity_response
        is None
    )


def test_the_offer_is_the_listener_s() -> None:
    given = answer(_asked(JPEG), AcceptorPolicy(max_pdu=131_072))
    assert given.user.max_pdu == 131_072
    assert (given.called, given.calling) == ("LINK", "US1")


def test_both_sides_agree_on_the_same() -> None:
    asked = propose(
        "LINK", "US1", [(US, (JPEG,)), (US, (EXPLICIT,)), (COMMITMENT, (IMPLICIT,))], max_pdu=16_384
    )
    given = answer(asked, AcceptorPolicy(any_storage=True, max_pdu=65_536))
    ours, theirs = agree(asked, given, requestor=True), agree(asked, given, requestor=False)
    assert ours.contexts == theirs.contexts
    assert (ours.max_send, theirs.max_send) == (65_536, 16_384)
    assert ours.refused == {5: 3}
    assert ours.context_for(US) == PresentationContext(1, US, JPEG)
    assert ours.context_for(US, EXPLICIT) == PresentationContext(3, US, EXPLICIT)
    assert ours.context_for(US, IMPLICIT) is None
    assert ours.context_for(COMMITMENT) is None


def test_an_answer_to_what_was_not_asked_is_refused() -> None:
    contexts = (
        AnsweredContext(1, 0, EXPLICIT),
        AnsweredContext(7, 0, JPEG),
        AnsweredContext(9, 1, ""),
    )
    agreement = agree(_asked(JPEG), AssociateAC("LINK", "US1", contexts), requestor=True)
    assert agreement.contexts == {}
    assert agreement.refused == {1: 2, 7: 2, 9: 1}


@pytest.mark.parametrize("count", [0, 129])
def test_an_association_has_1_to_128_contexts(count: int) -> None:
    with pytest.raises(ValueError, match=f"not {count}"):
        propose("LINK", "US1", [(US, (JPEG,))] * count)


def test_128_contexts_have_odd_ids() -> None:
    contexts = propose("LINK", "US1", [(US, (JPEG,))] * 128).contexts
    assert [context.id for context in contexts] == list(range(1, 256, 2))


@pytest.mark.parametrize(
    ("asked", "answered", "invoked"),
    [
        (None, None, 1),
        (None, 5, 1),
        (4, None, 1),
        (4, 2, 2),
        (2, 4, 2),
        (0, 3, 3),
        (3, 0, 3),
        (0, 0, 0xFFFF),
        (1, 1, 1),
    ],
)
def test_the_operations_window_is_the_smaller_of_both_and_one_without_a_word_of_both(
    asked, answered, invoked
):
    window = None if asked is None else AsyncOperationsWindow(asked, 1)
    request = propose(
        "CALLED", "CALLING", [(uids.VERIFICATION, (uids.IMPLICIT_VR_LITTLE_ENDIAN,))], window=window
    )
    assert request.user.window == window
    accepted = answer(request, AcceptorPolicy())
    reported = None if answered is None else AsyncOperationsWindow(answered, 1)
    accepted = replace(accepted, user=replace(accepted.user, window=reported))
    assert agree(request, accepted, requestor=True).invoked == invoked
