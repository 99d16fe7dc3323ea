"""Which contexts are proposed."""

from swallowtail.calls.deliver import Expected
from swallowtail.link.scu.contexts import FALLBACKS, Needs, pairs_of

CT, US = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.6.1"
EXPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"


def test_what_is_needed_now_comes_first_then_what_is_expected_then_what_was():
    needs = Needs()
    needs.note((US, JPEG))
    needs.note(
        (CT, EXPLICIT), pairs_of([Expected(sop_class=CT, transfer_syntaxes=(JPEG, EXPLICIT))])
    )
    assert needs.proposal(fallbacks=False) == ((CT, EXPLICIT), (CT, JPEG), (US, JPEG))


def test_places_that_are_left_ask_what_could_be_transcoded_to():
    needs = Needs()
    needs.note((CT, JPEG))
    assert needs.proposal(fallbacks=True) == ((CT, JPEG), *((CT, syntax) for syntax in FALLBACKS))
    needs.note((CT, FALLBACKS[0]))
    assert len(needs.proposal(fallbacks=True)) == 1 + len(FALLBACKS)  # none twice


def test_never_more_than_128_and_the_least_recently_needed_goes():
    needs = Needs()
    pairs = [(f"1.2.{n}", EXPLICIT) for n in range(140)]
    for pair in pairs:
        needs.note(pair)
    needs.note(pairs[20])
    proposal = needs.proposal(fallbacks=True)
    assert len(proposal) == 128
    assert proposal[:2] == (pairs[20], pairs[139])
    assert pairs[11] not in proposal
    assert pairs[12] in proposal


def test_what_is_expected_never_displaces_what_is_needed_now():
    needs = Needs()
    needs.note((CT, EXPLICIT), [(f"1.2.{n}", EXPLICIT) for n in range(1000)])
    proposal = needs.proposal(fallbacks=False)
    assert len(proposal) == 128
    assert proposal[0] == (CT, EXPLICIT)
    assert proposal[1] == ("1.2.0", EXPLICIT)
