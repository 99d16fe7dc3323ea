"""Which presentation contexts an association with a destination is asked for: a pure plan (PS3.8 9.3.2.2).

One context for each pair of SOP class and transfer syntax, so that the choice between syntaxes stays ours. What was needed last is
proposed first. Places that are left propose what an instance could be transcoded to, so that a refusal says at once what the
destination does take.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from swallowtail.calls.deliver import Expected
from swallowtail.dicom import uids
from swallowtail.dicom.pdu import MAX_CONTEXTS

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


def pairs_of(expected: Iterable[Expected]) -> Iterator[Pair]:
    """Give the pairs that a request announces."""
    for each in expected:
        for syntax in each.transfer_syntaxes:
            yield each.sop_class, syntax


class Needs:
    """The pairs that the instances of one connection need, the least recently needed forgotten first."""

    def __init__(self) -> None:
        self._pairs: dict[Pair, None] = {}  # oldest first, at most MAX_CONTEXTS

    def note(self, pair: Pair, expected: Iterable[Pair] = ()) -> None:
        """Learn that `pair` is needed now, and that `expected` will be, the first of them first."""
        for each in (*reversed([*expected][: MAX_CONTEXTS - 1]), pair):
            self._pairs.pop(each, None)
            self._pairs[each] = None
        for oldest in [*self._pairs][:-MAX_CONTEXTS]:
            del self._pairs[oldest]

    def proposal(self, *, fallbacks: bool) -> tuple[Pair, ...]:
        """Give the pairs to propose, what is needed now first."""
        needed = tuple(reversed(self._pairs))
        spare = ((sop_class, syntax) for sop_class in dict.fromkeys(pair[0] for pair in needed) for syntax in FALLBACKS)
        return tuple(dict.fromkeys((*needed, *spare) if fallbacks else needed))[:MAX_CONTEXTS]
