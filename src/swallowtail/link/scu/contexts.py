"""The presentation contexts that Link proposes to a destination: a pure plan (PS3.8 9.3.2.2).

One context for each pair of SOP class and transfer syntax, so that the choice between syntaxes
stays ours. What was needed last is proposed first. Places that are left propose what an instance
could be transcoded to, so that a rejection shows at once what the destination accepts.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from swallowtail.calls.config import Destination, Transcoding
from swallowtail.calls.deliver import DeliverRequest, Expected
from swallowtail.dicom import uids
from swallowtail.dicom.pdu import MAX_CONTEXTS, ContextResult

Pair = tuple[str, str]
"""SOP class and transfer syntax."""

FALLBACKS: Final = (
    uids.EXPLICIT_VR_LITTLE_ENDIAN,
    uids.IMPLICIT_VR_LITTLE_ENDIAN,
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.5",  # RLE Lossless
)

PERMANENT: Final = frozenset(
    {ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED}
)
"""Refusals that the same proposal would get again (PS3.8 9.3.3.2).

Results 3 and 4 name what the acceptor does not support, which only its configuration changes.
Result 1 (user rejection) and 2 (no reason) name no cause; acceptors also give them for a moment,
out of resources or licences, so they count as attempts.
"""


def refused_context(
    destination: Destination, request: DeliverRequest, result: int | None, accepted: tuple[str, ...]
) -> str:
    """Describe a refused presentation context, and what to do about it under these settings."""
    what = f"{destination.name} does not accept {uids.name_of(request.sop_class)}"
    syntax = uids.name_of(request.transfer_syntax)
    remedy = "enable the syntax there, or send it elsewhere"
    if destination.transcoding is Transcoding.NEVER:
        remedy = "allow transcoding, or enable the syntax there"
    if accepted:
        syntaxes = ", ".join(uids.name_of(each) for each in accepted)
        return f"{what} in {syntax} but in {syntaxes}; {remedy}"
    if result == ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED:
        return f"{what} in {syntax}; {remedy}"
    if result == ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED:
        return f"{what}; enable this SOP class there, or send it elsewhere"
    return f"{what} in {syntax} for now and gives no cause (result {result}); see its log"


def pairs_of(expected: Iterable[Expected]) -> Iterator[Pair]:
    """Return the pairs that a request announces."""
    for each in expected:
        for syntax in each.transfer_syntaxes:
            yield each.sop_class, syntax


class Needs:
    """The pairs that the instances of one connection need, the latest MAX_CONTEXTS of them."""

    def __init__(self) -> None:
        self._pairs: dict[Pair, None] = {}  # oldest first, at most MAX_CONTEXTS

    def note(self, pair: Pair, expected: Iterable[Pair] = ()) -> None:
        """Add `pair`, needed now, and `expected`, needed soon, the first of them first."""
        for each in (*reversed([*expected][: MAX_CONTEXTS - 1]), pair):
            self._pairs.pop(each, None)
            self._pairs[each] = None
        for oldest in [*self._pairs][:-MAX_CONTEXTS]:
            del self._pairs[oldest]

    def proposal(self, *, fallbacks: bool) -> tuple[Pair, ...]:
        """Return the pairs to propose, those needed now first."""
        needed = tuple(reversed(self._pairs))
        spare = (
            (sop_class, syntax)
            for sop_class in dict.fromkeys(pair[0] for pair in needed)
            for syntax in FALLBACKS
        )
        return tuple(dict.fromkeys((*needed, *spare) if fallbacks else needed))[:MAX_CONTEXTS]
