"""Whatever is proposed to a listener, only known transfer syntaxes are accepted, in the right
order.
"""

from hypothesis import given
from hypothesis import strategies as st

from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.dicom.negotiation import agree, propose
from swallowtail.dicom.uid_table import OTHER_TRANSFER_SYNTAXES, TRANSFER_SYNTAXES
from swallowtail.dicom.uids import VERIFICATION
from swallowtail.link.scp.admission import negotiate
from swallowtail.link.scp.services.table import PROVIDERS

CT = "1.2.840.10008.5.1.4.1.1.2"
WORKLIST = "1.2.840.10008.5.1.4.31"
GE_PRIVATE = "1.2.840.113619.5.2"
PRIVATE = (GE_PRIVATE, "1.2.3.4", "1.3.46.670589.33.1.4.1")
STANDARD = st.sampled_from(sorted(TRANSFER_SYNTAXES))
FOREIGN = st.sampled_from(sorted(OTHER_TRANSFER_SYNTAXES))

syntaxes = st.one_of(STANDARD, FOREIGN, st.sampled_from(PRIVATE))
lists = st.lists(syntaxes, max_size=5, unique=True).map(tuple)
proposals = st.one_of(
    lists,
    st.lists(
        st.one_of(syntaxes, st.text(alphabet="0123456789.ax \0", max_size=70)), max_size=8
    ).map(tuple),
)
listeners = st.builds(
    DicomListener,
    name=st.just("main"),
    ae_title=st.just("SWALLOW"),
    port=st.just(104),
    services=st.sampled_from([("verification", "storage"), ("storage",), ("verification",)]),
    transfer_syntaxes=lists,
    additional_transfer_syntaxes=st.lists(st.sampled_from(PRIVATE), max_size=2).map(tuple),
)
wishes = st.lists(
    st.tuples(st.sampled_from([VERIFICATION, CT, WORKLIST]), proposals),
    min_size=1,
    max_size=6,
)


def served(listener: DicomListener, sop_class: str) -> bool:
    service = {VERIFICATION: "verification", CT: "storage"}.get(sop_class)
    return service in listener.services


def wanted(listener: DicomListener, sop_class: str, proposed: tuple[str, ...]) -> str | None:
    """The answer of PS3.8 9.3.3.2 as the conformance page has it; None for result 4."""
    configured = {*listener.transfer_syntaxes, *listener.additional_transfer_syntaxes}
    if sop_class == VERIFICATION:
        allowed = [uid for uid in proposed if uid in TRANSFER_SYNTAXES or uid in configured]
        return allowed[0] if allowed else None
    for uid in listener.transfer_syntaxes:
        if uid in proposed:
            return uid
    standard = set() if listener.transfer_syntaxes else set(TRANSFER_SYNTAXES)
    return next((uid for uid in proposed if uid in standard | configured), None)


@given(listeners, wishes)
def test_each_context_gets_the_syntax_that_the_rules_name_or_result_4(listener, wishes):
    answered = negotiate(listener, propose("SWALLOW", "CT1", wishes), PROVIDERS).contexts
    assert len(answered) == len(wishes)
    for (sop_class, proposed), context in zip(wishes, answered, strict=True):
        expected = wanted(listener, sop_class, proposed)
        if not served(listener, sop_class):
            assert context.result in {1, 3}
        elif expected is None:
            assert context.result == 4
        else:
            assert (context.result, context.transfer_syntax) == (0, expected)


@given(listeners, wishes)
def test_an_unknown_syntax_is_never_accepted(listener, wishes):
    request = propose("SWALLOW", "CT1", wishes)
    agreed = agree(request, negotiate(listener, request, PROVIDERS), requestor=False)
    configured = {*listener.transfer_syntaxes, *listener.additional_transfer_syntaxes}
    for context in agreed.contexts.values():
        known = context.transfer_syntax in TRANSFER_SYNTAXES
        assert known or context.transfer_syntax in configured
